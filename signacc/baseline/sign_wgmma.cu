// 1-bit linears for many vectors on Hopper: y[m, n] = sum_j s_nj x[m, j] + shift[m], plus y itself if
// `residual`. The signs are operand A of the warpgroup matrix instruction (wgmma) and come from
// registers; the vectors are operand B and come from shared memory, where the copy engine puts them.
// A thread's sign bits lie in memory in the order of its registers (packing.fragment_order), so a
// register of operand A costs a shift and one logic operation, and no dense weight exists anywhere.
//
// Compiled by NVRTC for sm_90a, without headers. Macros:
//   BITS 16: binary16 vectors, a sign is +1.0 or -1.0, sums in float32.
//   BITS 8: int8 vectors, a sign is 1 or 0, sums in int32, exact:
//           y = scale[m] * (2 * sum - total[m]) + shift[m].
//   CONSUMERS warpgroups that multiply, ROWS tiles of 64 outputs of each; VECTORS of a block (32, 64,
//   128 or 256); STAGES of 128 bytes of every vector in shared memory; SPLIT blocks of a cluster that
//   share the inputs of a tile (1, 2, 4, 8) and add their sums through distributed shared memory.
// One more warpgroup, or one warp if there is a single consumer, only starts copies. Instructions and
// layouts: PTX ISA, "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions".

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define TILE (64 * ROWS * CONSUMERS)  // outputs of a block
#define PRODUCERS (CONSUMERS == 1 ? 32 : 128)
#define THREADS (128 * CONSUMERS + PRODUCERS)
#define STAGE_BYTES (VECTORS * 128)
#define GROUP_STAGES (BITS / 4)  // stages of 256 inputs, for which a thread's sign bits are 16 bytes
#define SUMS (VECTORS / 2)       // registers of a tile's sums in a thread
#define KEPT (SUMS / SPLIT)      // of which a block of a cluster finishes so many
#define PITCH (TILE * 2 + 16)    // bytes of a vector's outputs in shared memory, off the bank grid
#define EXCHANGE (SPLIT > 1 ? TILE * VECTORS * 4 : 0)

#if BITS == 16
typedef float Sum;
#define KIND "k16.f32.f16.f16"
#define SCALES ", 1, 1, 0"
#define SUM "+f"
#else
typedef int Sum;
#define KIND "k32.s32.u8.s8"
#define SCALES ""
#define SUM "+r"
#endif

struct alignas(64) TensorMap {
    u64 opaque[16];
};

struct Vectors {  // what a finished sum of a vector needs
    float shift[VECTORS];
#if BITS == 8
    float scale[VECTORS];
    int total[VECTORS];
#endif
};

__device__ __forceinline__ u32 shared_address(const void *p) {
    return (u32)__cvta_generic_to_shared(p);
}

// ---- barriers in shared memory ----

__device__ __forceinline__ void barrier_init(u32 bar, u32 count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count));
}

__device__ __forceinline__ void barrier_arrive(u32 bar) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory");
}

__device__ __forceinline__ void barrier_expect(u32 bar, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes)
                 : "memory");
}

__device__ __forceinline__ void barrier_wait(u32 bar, u32 parity) {
    u32 done = 0;
#ifdef WATCHDOG
    u32 tries = 0;
#endif
    do {
        asm volatile(
            "{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;"
            " selp.u32 %0, 1, 0, p; }"
            : "=r"(done) : "r"(bar), "r"(parity) : "memory");
#ifdef WATCHDOG
        if (++tries > WATCHDOG) asm volatile("trap;");
#endif
    } while (!done);
}

__device__ __forceinline__ void consumers_sync() {
    asm volatile("bar.sync 1, %0;" ::"n"(128 * CONSUMERS) : "memory");
}

__device__ __forceinline__ void cluster_arrive() {
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}

__device__ __forceinline__ void cluster_wait() {
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// ---- the matrix instruction ----

#define D4(i) SUM(d[i]), SUM(d[i + 1]), SUM(d[i + 2]), SUM(d[i + 3])
#define D16(i) D4(i), D4(i + 4), D4(i + 8), D4(i + 12)
#define L0 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define L1 "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define L2 "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define L3 "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define L4 "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79"
#define L5 "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
#define L6 "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111"
#define L7 "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#if VECTORS == 32
#define SHAPE "m64n32"
#define SUM_LIST L0
#define OPERANDS "{%16,%17,%18,%19}, %20, 1"
#define D_ALL D16(0)
#elif VECTORS == 64
#define SHAPE "m64n64"
#define SUM_LIST L0 "," L1
#define OPERANDS "{%32,%33,%34,%35}, %36, 1"
#define D_ALL D16(0), D16(16)
#elif VECTORS == 128
#define SHAPE "m64n128"
#define SUM_LIST L0 "," L1 "," L2 "," L3
#define OPERANDS "{%64,%65,%66,%67}, %68, 1"
#define D_ALL D16(0), D16(16), D16(32), D16(48)
#elif VECTORS == 256
#define SHAPE "m64n256"
#define SUM_LIST L0 "," L1 "," L2 "," L3 "," L4 "," L5 "," L6 "," L7
#define OPERANDS "{%128,%129,%130,%131}, %132, 1"
#define D_ALL D16(0), D16(16), D16(32), D16(48), D16(64), D16(80), D16(96), D16(112)
#endif

__device__ __forceinline__ void multiply(Sum (&d)[SUMS], const u32 (&a)[4], u64 vectors) {
    asm volatile("wgmma.mma_async.sync.aligned." SHAPE KIND " {" SUM_LIST "}, " OPERANDS SCALES ";"
                 : D_ALL
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(vectors));
}

// Descriptor of vectors in shared memory: rows of 128 bytes, swizzled by 128, 8 rows in 1,024 bytes.
__device__ __forceinline__ u64 describe(u32 address) {
    return (u64)((address & 0x3ffff) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

// Registers of operand A of step `i` of a stage, from the thread's bits of 256 inputs.
__device__ __forceinline__ void unpack(
    u32 (&a)[4], const u32 (&words)[4], int stage, int i, u32 mask) {
#pragma unroll
    for (int r = 0; r < 4; ++r) {
#if BITS == 16  // -1.0 with its sign flipped where the bit is 1
        asm("lop3.b32 %0, %1, %2, 0xbc00bc00, 0x6a;"
            : "=r"(a[r]) : "r"(words[stage] << (4 * i + r)), "r"(mask));
#else
        a[r] = (words[2 * stage + i / 2] >> (4 * (i & 1) + r)) & mask;
#endif
        asm volatile("" : "+r"(a[r])::"memory");  // before the fence that follows, not after
    }
}

__device__ __forceinline__ void load_bits(u32 (&words)[4], const uint4 *from) {
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3]) : "l"(from));
}

// ---- finished sums ----

__device__ __forceinline__ u32 two_halves(float low, float high) {
    u32 both;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

__device__ __forceinline__ u32 add_halves(u32 a, u32 b) {
    u32 both;
    asm("add.rn.f16x2 %0, %1, %2;" : "=r"(both) : "r"(a), "r"(b));
    return both;
}

__device__ __forceinline__ float finish(Sum sum, const Vectors &v, int vector) {
#if BITS == 16
    return sum + v.shift[vector];
#else
    return (float)(2 * sum - v.total[vector]) * v.scale[vector] + v.shift[vector];
#endif
}

// Binary16 results of a tile of 64 outputs into rows of PITCH bytes, a vector each. In a thread
// sums 4j + 2h + c are of output 16 * warp + lane / 4 + 8h and vector 8j + 2 (lane % 4) + c.
__device__ __forceinline__ void stage_results(
    const Sum (&d)[KEPT], const Vectors &v, int first, u32 rows, int lane) {
    const int column = 2 * (lane & 3);
    // a lane names the row of one vector in one of the four 8 x 8 matrices
    const u32 to = rows + ((lane >> 4) * 8 + (lane & 7)) * PITCH + ((lane >> 3) & 1) * 16;
#pragma unroll
    for (int j = 0; j < KEPT / 4; j += 2) {
        u32 r[4];
#pragma unroll
        for (int q = 0; q < 4; ++q) {
            const int vector = first + 8 * (j + q / 2) + column, at = 4 * (j + q / 2) + 2 * (q & 1);
            r[q] = two_halves(finish(d[at], v, vector), finish(d[at + 1], v, vector + 1));
        }
        asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared::cta.b16 [%0], {%1,%2,%3,%4};" ::"r"(
                         to + 8 * j * PITCH),
                     "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
                     : "memory");
    }
}

#if BITS == 16
#define V4 "v4.f32"
#define IN "f"
#else
#define V4 "v4.s32"
#define IN "r"
#endif

__device__ __forceinline__ void put_sums(u32 to, const Sum *d) {
    asm volatile("st.shared::cta." V4 " [%0], {%1,%2,%3,%4};" ::"r"(to), IN(d[0]), IN(d[1]), IN(d[2]),
                 IN(d[3])
                 : "memory");
}

__device__ __forceinline__ u32 address_in(u32 address, int peer) {
    u32 there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(peer));
    return there;
}

__device__ __forceinline__ void add_sums(Sum *d, u32 from) {
    Sum e[4];
    asm volatile("ld.shared::cluster." V4 " {%0,%1,%2,%3}, [%4];"
                 : "=" IN(e[0]), "=" IN(e[1]), "=" IN(e[2]), "=" IN(e[3]) : "r"(from) : "memory");
#pragma unroll
    for (int i = 0; i < 4; ++i) d[i] += e[i];
}

struct Tile {
    int start, end, set;  // outputs from start, below end; the set of input scales they share
};

// Tiles of a set of scales never reach into the next.
__device__ __forceinline__ Tile tile_of(int index, int first, int second, int outputs) {
    const int one = (first + TILE - 1) / TILE, two = one + (second - first + TILE - 1) / TILE;
    if (index < one) return Tile{index * TILE, first, 0};
    if (index < two) return Tile{first + (index - one) * TILE, second, 1};
    return Tile{second + (index - two) * TILE, outputs, 2};
}

// Staged results to y, 8 outputs of a vector at a time.
__device__ __forceinline__ void write_results(
    u32 staged, u16 *y, int start_m, int count, int outputs, const Tile &tile, int residual) {
    for (int i = threadIdx.x; i < VECTORS / SPLIT * (TILE / 8); i += 128 * CONSUMERS) {
        const int v = i / (TILE / 8), c = i % (TILE / 8), n = tile.start + 8 * c;
        if (start_m + v >= count || n >= tile.end) continue;
        uint4 r;
        asm volatile("ld.shared::cta.v4.u32 {%0,%1,%2,%3}, [%4];"
                     : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w) : "r"(staged + v * PITCH + c * 16)
                     : "memory");
        uint4 *to = (uint4 *)(y + (u64)(start_m + v) * outputs + n);
        if (residual) {
            const uint4 old = *to;
            r = uint4{add_halves(r.x, old.x), add_halves(r.y, old.y), add_halves(r.z, old.z),
                      add_halves(r.w, old.w)};
        }
        *to = r;
    }
}

extern "C" __global__ void
#if SPLIT > 1
__cluster_dims__(SPLIT, 1, 1)
#endif
__launch_bounds__(THREADS, CONSUMERS == 1 ? 2 : 1)
sign_wgmma(const __grid_constant__ TensorMap map, const uint4 *bits, const float *shifts,
           const float *scales, const int *totals, u16 *y, int count, int outputs, int inputs,
           int first, int second, int residual) {
    extern __shared__ unsigned char dynamic[];
    __shared__ alignas(8) u64 barriers[2 * STAGES];
    __shared__ Vectors vectors;
    const u32 ring = (shared_address(dynamic) + 1023) & ~1023u;
    const u32 full = shared_address(barriers), empty = full + 8 * STAGES;
    // the same in all threads of a warp, which the compiler cannot know
    const int warpgroup = __shfl_sync(~0u, threadIdx.x / 128, 0), lane = threadIdx.x & 31;
    const int rank = blockIdx.x % SPLIT;
    const Tile tile = tile_of(blockIdx.x / SPLIT, first, second, outputs);
    const int start_m = blockIdx.y * VECTORS;
    const int groups = inputs / 256;
    const int begin = groups * rank / SPLIT, finish_group = groups * (rank + 1) / SPLIT;

    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; ++s) {
            barrier_init(full + 8 * s, 1);
            barrier_init(empty + 8 * s, 4 * CONSUMERS);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    for (int v = threadIdx.x; v < VECTORS; v += THREADS) {
        const bool inside = start_m + v < count;
        const int at = tile.set * count + start_m + v;
        vectors.shift[v] = inside ? shifts[at] : 0.0f;
#if BITS == 8
        vectors.scale[v] = inside ? scales[at] : 0.0f;
        vectors.total[v] = inside ? totals[at] : 0;
#endif
    }
    __syncthreads();

    if (warpgroup == CONSUMERS) {
#if CONSUMERS == 2
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
#elif CONSUMERS == 3
        asm volatile("setmaxnreg.dec.sync.aligned.u32 32;");
#endif
        if (threadIdx.x == 128 * CONSUMERS) {
            const int last = finish_group * GROUP_STAGES;
            for (int k = begin * GROUP_STAGES, s = 0, round = 0; k < last; ++k) {
                // the first round finds every place free
                barrier_wait(empty + 8 * s, (round & 1) ^ 1);
                barrier_expect(full + 8 * s, STAGE_BYTES);
                asm volatile(
                    "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                    " [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(ring + s * STAGE_BYTES),
                    "l"(&map), "r"(full + 8 * s), "r"(k * (256 / GROUP_STAGES)), "r"(start_m),
                    "r"(tile.set)
                    : "memory");
                if (++s == STAGES) s = 0, ++round;
            }
        }
    } else {
#if CONSUMERS == 2
        asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
#elif CONSUMERS == 3
        asm volatile("setmaxnreg.inc.sync.aligned.u32 160;");
#endif
        const int thread = threadIdx.x & 127;
        const uint4 *from[ROWS];
#pragma unroll
        for (int row = 0; row < ROWS; ++row) {
            // tiles beyond the end repeat the last one; their results are not written
            const int sixty_four = min(tile.start / 64 + warpgroup * ROWS + row, outputs / 64 - 1);
            from[row] = bits + (u64)sixty_four * groups * 128 + thread;
        }
        Sum sums[ROWS][SUMS];
#pragma unroll
        for (int row = 0; row < ROWS; ++row)
#pragma unroll
            for (int i = 0; i < SUMS; ++i) sums[row][i] = 0;
        u32 mask;  // a register that the compiler does not make anew for every use
        asm volatile("mov.b32 %0, %1;" : "=r"(mask) : "n"(BITS == 16 ? 0x80008000 : 0x01010101));
        u32 words[ROWS][4], ahead[ROWS][4], a[2][ROWS][4];
#pragma unroll
        for (int row = 0; row < ROWS; ++row) load_bits(ahead[row], from[row] + begin * 128);
        int s = 0, before = -1;
        u32 parity = 0;
        for (int group = begin; group < finish_group; ++group) {
            const int next = min(group + 1, finish_group - 1);
#pragma unroll
            for (int row = 0; row < ROWS; ++row) {
#pragma unroll
                for (int i = 0; i < 4; ++i) words[row][i] = ahead[row][i];
                load_bits(ahead[row], from[row] + next * 128);
            }
#pragma unroll
            for (int stage = 0; stage < GROUP_STAGES; ++stage) {
                barrier_wait(full + 8 * s, parity);
                const u64 vectors_at = describe(ring + s * STAGE_BYTES);
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    // one step is in flight; its registers are the other half of `a`
#pragma unroll
                    for (int row = 0; row < ROWS; ++row) 
                        unpack(a[i & 1][row], words[row], stage, i, mask);
                    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
                    for (int row = 0; row < ROWS; ++row)
                        multiply(sums[row], a[i & 1][row], vectors_at + 2 * i);
                    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
                    asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
                    if (i == 0 && before >= 0 && lane == 0) barrier_arrive(empty + 8 * before);
                }
                before = s;
                if (++s == STAGES) s = 0, parity ^= 1;
            }
        }
        asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
        consumers_sync();  // nobody reads the ring any more: it takes sums and results
        const u32 results = ring + EXCHANGE + (threadIdx.x / 32 & 3) * 32;
#if SPLIT > 1
        const u32 mine = ring + warpgroup * ROWS * SUMS * 512 + thread * 16;
#pragma unroll
        for (int row = 0; row < ROWS; ++row)
#pragma unroll
            for (int i = 0; i < SUMS; i += 4)
                put_sums(mine + (row * SUMS + i) * 512, sums[row] + i);
        cluster_arrive();
        cluster_wait();
#pragma unroll
        for (int row = 0; row < ROWS; ++row) {
            Sum kept[KEPT];
#pragma unroll
            for (int i = 0; i < KEPT; ++i) kept[i] = 0;
            for (int peer = 0; peer < SPLIT; ++peer) {
                const u32 theirs = address_in(mine, peer) + (row * SUMS + rank * KEPT) * 512;
#pragma unroll
                for (int i = 0; i < KEPT; i += 4) add_sums(kept + i, theirs + i * 512);
            }
            stage_results(kept, vectors, rank * (VECTORS / SPLIT),
                          results + (warpgroup * ROWS + row) * 128, lane);
        }
        cluster_arrive();
#else
#pragma unroll
        for (int row = 0; row < ROWS; ++row)
            stage_results(sums[row], vectors, 0, results + (warpgroup * ROWS + row) * 128, lane);
#endif
        consumers_sync();
        write_results(ring + EXCHANGE, y, start_m + rank * (VECTORS / SPLIT), count, outputs, tile,
                      residual);
#if SPLIT > 1
        cluster_wait();  // others may still read this block's sums
#endif
    }
}
