// A whole grid on a CPU: hopper.cuh's and bitplane.cuh's functions, and CUDA's own, for step.cu. Stands ahead
// of it in test_step.py. Macros: those of step.cu, and SHARED_BYTES of a block.
//
// Every thread of the GPU is a fiber, and all run in one thread of the operating system, in an order
// drawn from a seed; they change places where a thread may wait. A round in which nobody gets on is a
// deadlock, and ends the run. Copies arrive late, one now and then; memory that nothing was copied to
// holds NaN.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <ucontext.h>
#include <utility>
#include <vector>

using std::max;
using std::min;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define KERNEL static void
#define INSIDE inline
#define __launch_bounds__(...)

struct alignas(16) uint4 {
    u32 x, y, z, w;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct float2 {
    float x, y;
};
struct Index {
    unsigned x;
};
static Index threadIdx, blockIdx, gridDim;

struct Barrier {  // of threads, or in shared memory
    int expected = 0, pending = 0, bytes = 0;
    u32 phases = 0;
    void settle() {
        if (pending || bytes) return;
        phases++;
        pending = expected;
    }
};

struct Warp {
    u32 shown[2][32][8];  // what lanes show each other, by turns
    u32 arrived = 0, turn = 0;
};

struct Copy {
    unsigned char *to;
    const void *from;
    u32 bytes;
    Barrier *bar;
};

struct Block {
    std::vector<unsigned char> bytes = std::vector<unsigned char>(SHARED_BYTES + 128, 0xff);
    std::vector<Barrier> barriers = std::vector<Barrier>(SHARED_BYTES / 8 + 16);
    Barrier named[16];
    Warp warps[32];
    unsigned char *memory() { return bytes.data() + (-(uintptr_t)bytes.data() & 127); }
};

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    Index thread, block;
    Block *shared;
    std::function<bool()> ready;
    bool ended = false;
};

static ucontext_t scheduler;
static Fiber *now;
static std::vector<Copy> copies;
static std::function<void()> program;

template <class Ready> static void wait_until(const Ready &ready) {
    if (ready()) return;
    now->ready = ready;
    swapcontext(&now->context, &scheduler);
}

static void begin_fiber() {
    program();
    now->ended = true;
    swapcontext(&now->context, &scheduler);
}

// ---- warps and blocks ----

// Shows words to the other lanes, and returns what all of them show.
template <class T> static const u32 (&exchange_lanes(const T &mine))[32][8] {
    static_assert(sizeof(T) <= 32);
    Warp &warp = now->shared->warps[threadIdx.x / 32];
    const u32 turn = warp.turn;
    std::memcpy(warp.shown[turn % 2][threadIdx.x % 32], &mine, sizeof mine);
    if (++warp.arrived == 32) {
        warp.arrived = 0;
        warp.turn++;
    }
    wait_until([&warp, turn] { return warp.turn != turn; });
    return warp.shown[turn % 2];
}

template <class T> T __shfl_xor_sync(u32, T value, int d) {
    T other;
    std::memcpy(&other, exchange_lanes(value)[threadIdx.x % 32 ^ d], sizeof other);
    return other;
}
template <class T, class Join> static T reduce_lanes(T value, const Join &join) {
    const auto &all = exchange_lanes(value);
    T sum = (T)all[0][0];
    for (int i = 1; i < 32; i++) sum = join(sum, (T)all[i][0]);
    return sum;
}
INSIDE int __reduce_add_sync(u32, int v) {
    return reduce_lanes(v, [](int a, int b) { return a + b; });
}
INSIDE u32 __reduce_max_sync(u32, u32 v) {
    return reduce_lanes(v, [](u32 a, u32 b) { return max(a, b); });
}
INSIDE void __syncwarp() { exchange_lanes(0); }

static void meet(Barrier &bar, int threads) {
    const u32 phase = bar.phases;
    if (bar.expected == 0) bar.expected = bar.pending = threads;
    if (bar.expected != threads) std::abort();
    --bar.pending;
    bar.settle();
    wait_until([&bar, phase] { return bar.phases != phase; });
}
INSIDE void block_sync() { meet(now->shared->named[0], 32 * WARPS + 128); }
template <int THREADS_OF> INSIDE void team_sync(int bar) {
    meet(now->shared->named[bar], THREADS_OF);
}
INSIDE int computed_here(int value) { return value; }
INSIDE u32 clock_now() {  // something happens between any two looks
    static u32 cycles = 0xffffff00u;  // and it runs over
    return ++cycles;
}
template <int COUNT> INSIDE void fewer_registers() {}
template <int COUNT> INSIDE void more_registers() {}

// ---- shared memory, its barriers, and copies ----

INSIDE unsigned char *shared_bytes() { return now->shared->memory(); }
INSIDE u32 shared_address(const void *p) {
    const auto at = (const unsigned char *)p - shared_bytes();
    if (at < 0 || at >= SHARED_BYTES) std::abort();
    return (u32)at;
}
INSIDE Barrier &barrier_at(u32 address) {
    if (address % 8) std::abort();
    return now->shared->barriers.at(address / 8);
}
INSIDE void barrier_init(u32 bar, u32 count) {
    barrier_at(bar) = Barrier{(int)count, (int)count, 0, 0};
}
INSIDE void barriers_visible() {}
INSIDE void barrier_arrive(u32 bar) {
    Barrier &b = barrier_at(bar);
    if (--b.pending < 0) std::abort();
    b.settle();
}
INSIDE void barrier_expect(u32 bar, u32 bytes) {
    barrier_at(bar).bytes += bytes;
    barrier_arrive(bar);
}
INSIDE void barrier_wait(u32 bar, u32 parity) {  // until the phase of this parity has ended
    Barrier &b = barrier_at(bar);
    wait_until([&b, parity] { return b.phases % 2 != parity; });
}
INSIDE void copy_bytes(u32 to, const void *from, u32 bytes, u32 bar) {
    if (to % 16 || bytes % 16 || bytes == 0 || (uintptr_t)from % 16) std::abort();
    if (to + bytes > SHARED_BYTES) std::abort();
    copies.push_back(Copy{shared_bytes() + to, from, bytes, &barrier_at(bar)});
}

// ---- the grid ----

INSIDE void grid_arrive(u32 *counter) { ++*counter; }
INSIDE void grid_wait(const u32 *counter, u32 count) {
    wait_until([counter, count] { return *counter >= count; });
}
template <int N, bool WAITS, class From>
INSIDE void load_tagged(uint4 (&words)[N], u32 tag, const From &from) {
    const auto there = [&] {
        for (int i = 0; i < N; i++) {
            words[i] = *from(i);
            for (u32 word : {words[i].x, words[i].y, words[i].z, words[i].w})
                if (WAITS && word >> 16 != tag) return false;
        }
        return true;
    };
    wait_until(there);
}
INSIDE void store_tagged(u32 *to, u16 value, u32 tag) { *to = value | tag << 16; }
INSIDE u32 atomicAdd(u32 *at, u32 more) { return std::exchange(*at, *at + more); }
INSIDE u32 atomicMax(u32 *at, u32 other) { return std::exchange(*at, max(*at, other)); }

// ---- numbers ----

INSIDE float widen(u16 bits) {
    _Float16 h;
    std::memcpy(&h, &bits, 2);
    return h;
}
INSIDE u16 narrow(float f) {
    const _Float16 h = f;
    u16 bits;
    std::memcpy(&bits, &h, 2);
    return bits;
}
template <class To, class From> static To bits_of(From from) {
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}
INSIDE int __float_as_int(float f) { return bits_of<int>(f); }
INSIDE u32 __float_as_uint(float f) { return bits_of<u32>(f); }
INSIDE float __uint_as_float(u32 u) { return bits_of<float>(u); }
INSIDE float __fdividef(float a, float b) { return a / b; }
INSIDE float __expf(float f) { return std::exp(f); }
INSIDE float rsqrtf(float f) { return 1 / std::sqrt(f); }
template <u32 MASK> INSIDE u32 select_bits(u32 a, u32 b) { return (a & MASK) | (b & ~MASK); }
INSIDE u32 __byte_perm(u32 a, u32 b, u32 order) {
    const u64 both = (u64)b << 32 | a;
    u32 r = 0;
    for (int i = 0; i < 4; i++) r |= (u32)(both >> 8 * (order >> 4 * i & 7) & 255) << 8 * i;
    return r;
}
template <class T> T __ldg(const T *p) { return *p; }
template <class T> T __ldcg(const T *p) { return *p; }

// mma.m16n8k256 with "and" and "popc", fragments as the PTX ISA has them
INSIDE void count_ones(int *c, const uint4 &a, u32 b0, u32 b1) {
    const u32 mine[6] = {a.x, a.y, a.z, a.w, b0, b1};
    const auto &all = exchange_lanes(mine);
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    for (int i = 0; i < 4; i++)
        for (int word = 0; word < 4; word++)
            for (int h = 0; h < 2; h++) {
                const u32 row = all[4 * g + word][2 * h + i / 2];
                const u32 column = all[4 * (2 * t + i % 2) + word][4 + h];
                c[i] += __builtin_popcount(row & column);
            }
}

// ---- all of it ----

struct Model;
struct Cache;
struct Buffers;
static void decode_step(const long long *, const Model, const Cache, const Buffers);

// Runs `blocks` blocks; returns 0, or 1 if they stood still.
template <class Program> int run_blocks(int blocks, unsigned seed, const Program &body) {
    std::mt19937 random(seed);
    std::vector<Block> shared(blocks);
    std::vector<std::unique_ptr<Fiber>> fibers;
    program = body;
    gridDim.x = blocks;
    copies.clear();
    for (int b = 0; b < blocks; b++)
        for (int t = 0; t < 32 * WARPS + 128; t++) {
            auto f = std::make_unique<Fiber>();
            f->stack.reset(new char[1 << 16]);
            f->thread.x = t;
            f->block.x = b;
            f->shared = &shared[b];
            getcontext(&f->context);
            f->context.uc_stack.ss_sp = f->stack.get();
            f->context.uc_stack.ss_size = 1 << 16;
            f->context.uc_link = nullptr;
            makecontext(&f->context, begin_fiber, 0);
            fibers.push_back(std::move(f));
        }
    std::shuffle(fibers.begin(), fibers.end(), random);
    while (!fibers.empty()) {
        bool moved = false;
        for (auto &f : fibers) {
            if (f->ready && !f->ready()) continue;
            moved = true;
            f->ready = nullptr;
            now = f.get();
            threadIdx = f->thread;
            blockIdx = f->block;
            swapcontext(&scheduler, &f->context);
        }
        if (!copies.empty() && (!moved || random() % 4 == 0)) {
            moved = true;
            std::swap(copies[random() % copies.size()], copies.back());
            const Copy c = copies.back();
            copies.pop_back();
            std::memcpy(c.to, c.from, c.bytes);
            c.bar->bytes -= c.bytes;
            c.bar->settle();
        }
        if (!moved) return 1;
        fibers.erase(std::remove_if(fibers.begin(), fibers.end(),
                                    [](const auto &f) { return f->ended; }), fibers.end());
    }
    return 0;
}
