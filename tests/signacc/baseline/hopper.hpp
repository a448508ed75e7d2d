// The functions of signacc/baseline/hopper.cuh and wgmma.cuh on a CPU: a thread of the operating system for each
// of the GPU, and every block of a cluster. Stands ahead of sign_wgmma.cu in test_sign_wgmma.py.
//
// Matrix instructions are carried out as late as the program allows, when they are waited for, and read
// their registers and shared memory then: who overwrites either too early gets wrong sums. A compiler
// may read a sum as soon as its last step is issued, unless an instruction that it cannot move names
// the sum behind the wait: here a variable keeps its old value until it is settled. Layouts are those
// that the PTX ISA documents for wgmma, its descriptor, stmatrix and the tensor map's swizzle.

#include <algorithm>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

using std::min;
typedef uint16_t u16;
typedef uint32_t u32;
typedef unsigned long long u64;

#if BITS == 16
typedef float Sum;
typedef _Float16 Element;
#else
typedef int Sum;
typedef int8_t Element;
#endif

#define KERNEL static void
#define INSIDE static inline
#define __cluster_dims__(...)
#define __launch_bounds__(...)
#define __grid_constant__

struct uint4 {
    u32 x, y, z, w;
};

struct TensorMap {
    const Element *from;
    int sets, count, inputs;
};

struct Three {
    int x, y, z;
};

static thread_local Three threadIdx, blockIdx;

constexpr int SHARED = 232448, BLOCK_THREADS = 128 * CONSUMERS + (CONSUMERS == 1 ? 32 : 128);

struct Phase {
    int expected, pending, bytes, parity;
};

struct Block {
    std::vector<unsigned char> memory = std::vector<unsigned char>(SHARED, 0xff);
    std::map<u32, Phase> phases;
    std::mutex lock;
    std::condition_variable changed;
    std::barrier<> all{BLOCK_THREADS}, consumers{128 * CONSUMERS};
    std::vector<std::unique_ptr<std::barrier<>>> warps;
    u32 registers[BLOCK_THREADS][4];  // operand A, as its warp shows it
    u32 rows[BLOCK_THREADS], halves[BLOCK_THREADS][4];
    Block() {
        for (int i = 0; i < BLOCK_THREADS / 32; ++i)
            warps.push_back(std::make_unique<std::barrier<>>(32));
    }
    void finish(Phase &p) {
        if (p.pending || p.bytes) return;
        p.parity ^= 1;
        p.pending = p.expected;
        changed.notify_all();
    }
};

struct Cluster {
    Block blocks[SPLIT];
    std::barrier<> all{SPLIT * 128 * CONSUMERS};  // those that copy have ended by then
};

struct Multiply {
    Sum *d;
    const u32 *a;
    u32 vectors;
};

static thread_local Cluster *cluster;
static thread_local Block *block;
static thread_local std::deque<std::vector<Multiply>> steps;  // the last is not closed
static thread_local std::map<Sum *, std::vector<Sum>> sums;   // as the matrix unit holds them
static thread_local std::unique_ptr<std::barrier<>::arrival_token> token;

INSIDE int uniform(int value) { return value; }
INSIDE u32 shared_start() { return 512; }  // as badly aligned as may be
// blocks of a cluster see each other's memory through the upper bits of an address
INSIDE unsigned char *byte_at(u32 address) {
    Block &there = address >> 24 ? cluster->blocks[(address >> 24) - 1] : *block;
    return &there.memory.at(address & 0xffffff);
}
INSIDE void *shared_pointer(u32 address) { return byte_at(address); }
INSIDE void block_sync() { block->all.arrive_and_wait(); }
template <int THREADS_OF> INSIDE void named_sync() { block->consumers.arrive_and_wait(); }
INSIDE void cluster_arrive() {
    token = std::make_unique<std::barrier<>::arrival_token>(cluster->all.arrive());
}
INSIDE void cluster_wait() { cluster->all.wait(std::move(*token)); }
INSIDE u32 address_in(u32 address, int other) { return address | (u32)(other + 1) << 24; }
template <int COUNT> INSIDE void fewer_registers() {}
template <int COUNT> INSIDE void more_registers() {}

static thread_local bool waited;
INSIDE void wait_for_previous() { waited = true; }
INSIDE void let_next_start() {}

INSIDE void barrier_init(u32 bar, u32 count) {
    block->phases[bar] = Phase{(int)count, (int)count, 0, 0};
}
INSIDE void barriers_visible() {}
INSIDE void barrier_arrive(u32 bar) {
    std::lock_guard<std::mutex> hold(block->lock);
    Phase &p = block->phases.at(bar);
    --p.pending;
    block->finish(p);
}
INSIDE void barrier_expect(u32 bar, u32 bytes) {
    std::lock_guard<std::mutex> hold(block->lock);
    Phase &p = block->phases.at(bar);
    --p.pending;
    p.bytes += bytes;
}
INSIDE void barrier_wait(u32 bar, u32 parity) {  // until the phase of this parity has ended
    std::unique_lock<std::mutex> hold(block->lock);
    Phase &p = block->phases.at(bar);
    const auto done = [&] { return p.parity != (int)parity; };
    if (!block->changed.wait_for(hold, std::chrono::minutes(2), done)) std::abort();
}

INSIDE u32 swizzled(u32 address) { return address ^ ((address >> 7 & 7) << 4); }

INSIDE void fetch_map(const TensorMap &) {}
INSIDE void copy_box(u32 to, const TensorMap &map, u32 bar, int k, int m, int set) {
    if (!waited) std::abort();  // the kernel before may still write the vectors
    for (int v = 0; v < VECTORS; ++v)
        for (int i = 0; i < 128 / (int)sizeof(Element); ++i) {
            const bool inside = m + v < map.count && k + i < map.inputs;
            const Element e = inside ? map.from[((u64)set * map.count + m + v) * map.inputs + k + i]
                                     : Element(0);
            std::memcpy(byte_at(swizzled(to + v * 128 + i * sizeof(Element))), &e, sizeof e);
        }
    std::lock_guard<std::mutex> hold(block->lock);
    Phase &p = block->phases.at(bar);
    p.bytes -= VECTORS * 128;
    block->finish(p);
}

INSIDE Element element(u32 address) {
    Element e;
    std::memcpy(&e, byte_at(swizzled(address)), sizeof e);
    return e;
}

static void carry_out(const Multiply &m) {
    const int thread = threadIdx.x, lane = thread & 31, warp = thread / 32;
    constexpr int per = 4 / sizeof(Element), depth = 8 * per;  // elements of a register, of a step
    std::vector<Sum> &d = sums.at(m.d);
    std::copy(m.a, m.a + 4, block->registers[thread]);
    block->warps[warp]->arrive_and_wait();
    for (int j = 0; j < VECTORS / 2; ++j) {
        const int row = lane / 4 + 8 * (j / 2 % 2), n = 8 * (j / 4) + 2 * (lane % 4) + j % 2;
        for (int k = 0; k < depth; ++k) {
            const int owner = warp * 32 + row % 8 * 4 + k % (depth / 2) / per;
            const u32 r = block->registers[owner][row / 8 + 2 * (k / (depth / 2))];
            Element a;
            std::memcpy(&a, (const char *)&r + k % per * sizeof a, sizeof a);
            const u32 at = m.vectors + n / 8 * 1024 + n % 8 * 128 + k * sizeof a;
            d[j] += Sum(a) * Sum(element(at));
        }
    }
    block->warps[warp]->arrive_and_wait();
}

INSIDE void multiply(Sum (&d)[VECTORS / 2], const u32 (&a)[4], u64 vectors) {
    const u64 layout = vectors & ~0x3fffull;
    if (layout != (1ull << 16 | 64ull << 32 | 1ull << 62)) std::abort();
    sums.try_emplace(d, d, d + VECTORS / 2);
    if (steps.empty()) steps.emplace_back();
    steps.back().push_back(Multiply{d, a, (u32)(vectors & 0x3fff) << 4});
}
INSIDE void steps_fence() {}
INSIDE void step_done() { steps.emplace_back(); }
template <int STEPS> INSIDE void wait_steps() {
    while ((int)steps.size() > STEPS + 1) {
        for (const Multiply &m : steps.front()) carry_out(m);
        steps.pop_front();
    }
}

template <u32 VALUE> INSIDE u32 constant() { return VALUE; }
INSIDE u32 flip_ones(u32 bits, u32 mask) { return (bits & mask) ^ 0xbc00bc00; }
INSIDE void settle(u32 &) {}
INSIDE void settle(Sum &sum) {
    for (const auto &[d, held] : sums)
        if (&sum >= d && &sum < d + VECTORS / 2) sum = held[&sum - d];
}

INSIDE void fetch_ahead(const u32 *from, u32 bytes) {  // reads what it fetches, as a GPU does
    if (bytes % 16 || (uintptr_t)from % 16) std::abort();
    volatile u32 read = from[0] + from[bytes / 4 - 1];
}
INSIDE void load_four(u32 (&words)[4], const u32 *from) { std::copy(from, from + 4, words); }
INSIDE void put_sums(u32 to, const Sum *d) { std::memcpy(byte_at(to), d, 16); }
INSIDE void add_sums(Sum *d, u32 from) {
    for (int i = 0; i < 4; ++i) {
        Sum e;
        std::memcpy(&e, byte_at(from + 4 * i), 4);
        d[i] += e;
    }
}

INSIDE void store_transposed(u32 to, const u32 (&r)[4]) {
    const int thread = threadIdx.x, lane = thread & 31, warp = thread / 32;
    block->rows[thread] = to;
    std::copy(r, r + 4, block->halves[thread]);
    block->warps[warp]->arrive_and_wait();
    for (int q = 0; q < 4; ++q)  // this thread's two elements of matrix q: one row, two columns
        for (int c = 0; c < 2; ++c) {
            const u32 at = block->rows[warp * 32 + 8 * q + 2 * (lane % 4) + c];
            const u16 half = block->halves[thread][q] >> 16 * c;
            std::memcpy(byte_at(at + lane / 4 * 2), &half, 2);
        }
    block->warps[warp]->arrive_and_wait();
}

INSIDE u32 two_halves(float low, float high) {
    const _Float16 both[2] = {(_Float16)low, (_Float16)high};
    u32 bits;
    std::memcpy(&bits, both, 4);
    return bits;
}
INSIDE u32 add_halves(u32 a, u32 b) {
    _Float16 p[2], q[2];
    std::memcpy(p, &a, 4);
    std::memcpy(q, &b, 4);
    return two_halves((float)p[0] + (float)q[0], (float)p[1] + (float)q[1]);
}

static void sign_wgmma(const TensorMap, const u32 *, const float *, const float *, const int *, u16 *,
                       int, int, int, int, int, int);

// A grid of `x` tiles times SPLIT blocks, and `y` batches of vectors, cluster after cluster.
extern "C" void run_grid(const Element *from, int sets, const u32 *bits, const float *shifts,
                         const float *scales, const int *totals, u16 *y, int count, int outputs,
                         int inputs, int first, int second, int residual, int grid_x, int grid_y) {
    const TensorMap map{from, sets, count, inputs};
    for (int by = 0; by < grid_y; ++by)
        for (int bx = 0; bx < grid_x; bx += SPLIT) {
            Cluster one;
            std::vector<std::thread> threads;
            for (int rank = 0; rank < SPLIT; ++rank)
                for (int t = 0; t < BLOCK_THREADS; ++t)
                    threads.emplace_back([&, rank, t] {
                        cluster = &one;
                        block = &one.blocks[rank];
                        threadIdx = Three{t, 0, 0};
                        blockIdx = Three{bx + rank, by, 0};
                        steps.clear();
                        sums.clear();
                        waited = false;
                        sign_wgmma(map, bits, shifts, scales, totals, y, count, outputs, inputs,
                                   first, second, residual);
                    });
            for (std::thread &t : threads) t.join();
        }
}
