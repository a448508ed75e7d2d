"""signacc compare: estimates of our machines against measured and published figures."""
