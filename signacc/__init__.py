"""signacc: the command line and the workflows that join hw, golden, model and sim."""
