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
    things = computed_here(things);  // while the block waits for others: registers are scarce
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
    // By whole warps, for the next slots: a slot a lane.
    INSIDE void wait(int slots) const {
        const int lane = computed_here(threadIdx.x & 31);
        if (lane < slots) wait_at(lane);
        __syncwarp();
    }
    // By every warp that computes, when it is done with the next slots.
    INSIDE void release(int slots) {
        __syncwarp();
        const int lane = computed_here(threadIdx.x & 31);
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

// A vector of SIZE numbers that say by themselves whether they are there, so that neither who writes nor
// who reads waits for a barrier: a word has the number, binary16, below, and a tag above. Who writes puts
// another tag each time; nobody writes before all have read (barriers between other phases see to that). Of
// each 16 numbers the first four, then of each the next four: a warp's loads are one piece.
template <int SIZE> struct Tagged {
    u32 *words;

    static INSIDE int four(int k) { return k % 16 / 4 * (SIZE / 16) + k / 16; }
    INSIDE u32 *at(int k) const { return words + 4 * four(k) + k % 4; }
    INSIDE void put(int k, u16 value, u32 tag) const { store_tagged(at(k), value, tag); }
    // What this block wrote.
    INSIDE u16 own(int k) const { return (u16)__ldcg(at(k)); }
    // N times four, the first of each at where(i).
    template <int N, class Where>
    INSIDE void get(uint4 (&found)[N], u32 tag, const Where &where) const {
        load_tagged<N, !(SKIP & 32)>(
            found, tag, [&](int i) { return (const uint4 *)words + four(where(i)); });
    }
};

// The barrier of the grid, by the warps that compute. counter[0] counts arrivals of one launch, [32]
// blocks that have passed the last barrier.
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
