// A grid of resident blocks that work in phases: what each block does of a phase, a ring in shared
// memory that is filled ahead of its use, and the barrier between phases. Behind hopper.cuh. Of a
// block's warps the first WARPS compute, and a thread of those behind them copies. Macros: SLOTS of the
// ring, FLIGHT, WARPS; SKIP, see step.cu.

#define SLOT 8192  // bytes

struct Half {  // of the warps that compute
    static constexpr int THREADS = 16 * WARPS;
    static INSIDE int thread() { return threadIdx.x % THREADS; }
    static INSIDE void sync() { team_sync<THREADS>(2 + threadIdx.x / THREADS); }
};

struct Whole {
    static constexpr int THREADS = 32 * WARPS;
    static INSIDE int thread() { return threadIdx.x; }
    static INSIDE void sync() { team_sync<THREADS>(1); }
};

struct Span {
    int first, count;
    INSIDE int end() const { return first + count; }
};

// What this block does of so many equal things; times blocks they are fewer than 2^32.
INSIDE Span share_of(u32 things) {
    const u32 first = things * blockIdx.x / gridDim.x;
    return Span{(int)first, (int)(things * (blockIdx.x + 1) / gridDim.x - first)};
}

INSIDE int slots_of(int bytes) { return (bytes + SLOT - 1) / SLOT; }

// Slots are filled in the order in which they are used. Each thread keeps where it is by itself: a slot,
// and the parity of its use.
struct Ring {
    u32 start, full, empty;  // addresses in shared memory: slots, and their barriers
    int slot;
    u32 parity;

    INSIDE int at(int ahead) const {
        const int i = slot + ahead;
        return i < SLOTS ? i : i - SLOTS;
    }
    INSIDE void advance(int slots) {
        parity ^= slot + slots >= SLOTS;
        slot = at(slots);
    }
    INSIDE void wait_at(int ahead) const {
        if (!(SKIP & 8)) barrier_wait(full + 8 * at(ahead), parity ^ (slot + ahead >= SLOTS));
    }
    INSIDE void wait(int slots) const {
        for (int i = 0; i < slots; i++) wait_at(i);
    }
    // By every warp that computes, when it is done with the next slots.
    INSIDE void release(int slots) {
        __syncwarp();
        const int lane = threadIdx.x & 31;
        if (!(SKIP & 8) && lane < slots) barrier_arrive(empty + 8 * at(lane));
        advance(slots);
    }
    // By the one thread that copies. With AT_ONCE, so many copies are under way at most: a phase frees
    // many slots at once, and whatever else the block reads or writes would queue behind all of them.
    template <int AT_ONCE = FLIGHT> INSIDE void put(const void *from, int bytes) {
        if (SKIP & 8) return;
        if (AT_ONCE) {
            const bool before = slot < AT_ONCE;  // in the use before; of the first use there is none
            const int earlier = slot - AT_ONCE + (before ? SLOTS : 0);
            barrier_wait(full + 8 * earlier, parity ^ before);
        }
        barrier_wait(empty + 8 * slot, parity ^ 1);
        barrier_expect(full + 8 * slot, bytes);
        copy_bytes(start + SLOT * slot, from, bytes, full + 8 * slot);
        advance(1);
    }
    INSIDE void put_all(const unsigned char *from, int bytes) {
        for (int done = 0; done < bytes; done += SLOT) put(from + done, min(SLOT, bytes - done));
    }
};

// The barrier of the grid, by the warps that compute. counter[0] counts arrivals of one launch, [32]
// blocks that have passed the last barrier. `count` begins a grid below 0: the first wait is none.
struct Meeting {
    u32 *counter, count;

    INSIDE void arrive() {
        Whole::sync();
        if (threadIdx.x == 0 && !(SKIP & 32)) grid_arrive(counter);
    }
    INSIDE void wait() {
        count += gridDim.x;
        if (threadIdx.x == 0 && !(SKIP & 32)) grid_wait(counter, count);
        Whole::sync();
    }
    // Behind the last wait: the last block leaves the counters at 0, for the next launch.
    INSIDE void leave() {
        if (threadIdx.x == 0 && atomicAdd(counter + 32, 1u) == gridDim.x - 1) {
            counter[0] = 0;
            counter[32] = 0;
        }
    }
};
