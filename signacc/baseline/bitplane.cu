// 1-bit linears for few vectors, by binary matrix instructions. The packed weights are the A
// operand as they lie in memory: nothing is unpacked. Activations are quantized as the contract
// says (docs/contract.md: PLANES-bit integers, one power-of-two unit per vector) and split into bit
// planes, the columns of the B operand. A sum of signs follows from counts of ones:
//     S_i = sum_j s_ij q_j = 2 sum_p c_p popcount(w_i & plane_p) - sum_j q_j,  c_p = 2^p, the top one
// negative. All of it is exact integer arithmetic.
//
// Compiled by NVRTC, without headers. Macros: K inputs (a multiple of 256), PLANES 8 or 16; MODE (what
// a linear does to its input: 0 nothing, 1 norm, 2 SwiGLU) for prepare and sign_gemv_one; SPLIT
// (warps that share a tile of outputs) for the two GEMVs, BATCH (vectors staged at once) for
// sign_gemv. AHEAD 1 fetches gain and scales before the kernel ahead has ended; LATE 1 lets the next
// kernel start only then, and not at once. Blocks have 256 threads.

typedef unsigned short u16;
typedef unsigned int u32;

__device__ __forceinline__ float widen(u16 h) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
    return f;
}

__device__ __forceinline__ u16 narrow(float f) {
    u16 h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
    return h;
}

// Programmatic dependent launch (PTX ISA, griddepcontrol): a kernel may start, and fetch weights,
// while the one before it ends; what that one wrote is read only after wait_for_previous.
__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ __forceinline__ void let_next_start() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

#define STEPS (K / 256)
#define THREADS 256
#define PARTS (PLANES / 4)  // 32-bit registers of a lane's B operands in one step

#ifdef MODE
#define CHUNKS (K / 16)
#define ROUNDS ((CHUNKS + THREADS - 1) / THREADS)

struct Scratch {
    float square[8], shift[8], top[8];
    int total;
};

struct Vector {  // what belongs to the bit planes of a vector
    int unit;    // exponent of one unit of q
    float shift; // beta * x
};

__device__ __forceinline__ float add_lanes(float v) {
    for (int d = 16; d; d >>= 1) v += __shfl_xor_sync(~0u, v, d);
    return v;
}

__device__ __forceinline__ float max_lanes(float v) {
    for (int d = 16; d; d >>= 1) v = fmaxf(v, __shfl_xor_sync(~0u, v, d));
    return v;
}

// To the nearest integer, ties to even, for |v| < 2^22: adding 1.5 * 2^23 leaves it in the low bits. The
// conversion would run at an eighth of the rate.
__device__ __forceinline__ int round_to_int(float v) {
    return __float_as_int(v + 12582912.0f) - 0x4b400000;
}

// 16 consecutive binary16 numbers at an address that is a multiple of 32 bytes
struct Sixteen {
    uint4 low, high;
    __device__ __forceinline__ float operator[](int i) const {
        const uint4 &part = i < 8 ? low : high;
        const int j = (i & 7) >> 1;
        const u32 pair = j == 0 ? part.x : j == 1 ? part.y : j == 2 ? part.z : part.w;
        return widen((u16)((i & 1) ? pair >> 16 : pair & 0xffff));
    }
};

// Constants may come early and through the read-only cache; what kernels wrote comes from L2.
__device__ __forceinline__ Sixteen load_constant(const u16 *from) {
    const uint4 *p = (const uint4 *)from;
    return Sixteen{__ldg(p), __ldg(p + 1)};
}

__device__ __forceinline__ Sixteen load_written(const u16 *from) {
    const uint4 *p = (const uint4 *)from;
    return Sixteen{__ldcg(p), __ldcg(p + 1)};
}

// Gain and scales of a thread's inputs. Fetched ahead into registers if there is one round of them,
// else into L2.
struct Constants {
    Sixteen gain, alpha, beta;
};

__device__ __forceinline__ Constants load_constants(
    const u16 *gain, const u16 *alpha, const u16 *beta, int round) {
    const int chunk = round * THREADS + threadIdx.x, k = chunk < CHUNKS ? chunk * 16 : 0;
    Constants c;
    if (MODE == 1) c.gain = load_constant(gain + k);
    c.alpha = load_constant(alpha + k);
    c.beta = load_constant(beta + k);
    return c;
}

__device__ __forceinline__ Constants fetch_constants(
    const u16 *gain, const u16 *alpha, const u16 *beta) {
    if (AHEAD && ROUNDS == 1) return load_constants(gain, alpha, beta, 0);
    if (!AHEAD) return Constants{};
    for (int k = threadIdx.x * 64; k < K; k += THREADS * 64) {  // a line of 128 bytes each
        if (MODE == 1) asm volatile("prefetch.global.L2 [%0];" ::"l"(gain + k));
        asm volatile("prefetch.global.L2 [%0];" ::"l"(alpha + k));
        asm volatile("prefetch.global.L2 [%0];" ::"l"(beta + k));
    }
    return Constants{};
}

// Transposes 16 numbers of 16 bits: row[j] holds number j below and j + 8 above; afterwards plane j
// below and plane j + 8 above, number i in bit i (Warren, Hacker's Delight, 7-3).
__device__ __forceinline__ void transpose(u32 (&row)[8]) {
#pragma unroll
    for (int j = 0; j < 8; j++) row[j] = __byte_perm(row[j], 0, 0x3120);
#pragma unroll
    for (int d = 4; d; d >>= 1) {
        const u32 mask = d == 4 ? 0x0f0f0f0fu : d == 2 ? 0x33333333u : 0x55555555u;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            if (!(j & d)) {
                const u32 t = ((row[j] >> d) ^ row[j + d]) & mask;
                row[j + d] ^= t;
                row[j] ^= t << d;
            }
        }
    }
}

// One vector to bit planes, by a block of 8 warps. Plane p is column p % 8 of operand p / 8; word
// t + 4 h of a step is register h of lane 4 (p % 8) + t. Adds the sum of q to scratch.total, which
// the caller has cleared; the caller synchronizes before anything is read.
__device__ __forceinline__ Vector quantize(
    const u16 *x, const u16 *gain, const u16 *alpha, const u16 *beta, const Constants &fetched,
    u16 *planes, float eps, Scratch &scratch) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    float value[ROUNDS][16];
    float square = 0.0f;
#pragma unroll
    for (int r = 0; r < ROUNDS; r++) {
        const int chunk = r * THREADS + threadIdx.x;
        const bool inside = chunk < CHUNKS;
        const int k = inside ? chunk * 16 : 0;
        const Sixteen a = load_written(x + k);
        if (MODE == 2) {
            const Sixteen b = load_written(x + K + k);
#pragma unroll
            for (int i = 0; i < 16; i++) {
                const float g = a[i];
                value[r][i] = widen(narrow(__fdividef(g, 1.0f + __expf(-g)) * b[i]));
            }
        } else {
#pragma unroll
            for (int i = 0; i < 16; i++) value[r][i] = a[i];
        }
#pragma unroll
        for (int i = 0; i < 16; i++) {
            if (!inside) value[r][i] = 0.0f;
            square += value[r][i] * value[r][i];
        }
    }
    float factor = 1.0f;
    if (MODE == 1) {
        square = add_lanes(square);
        if (lane == 0) scratch.square[warp] = square;
        __syncthreads();
        square = 0.0f;
#pragma unroll
        for (int w = 0; w < 8; w++) square += scratch.square[w];
        factor = rsqrtf(square / K + eps);
    }
    float shift = 0.0f, top = 0.0f;
#pragma unroll
    for (int r = 0; r < ROUNDS; r++) {
        const Constants c = (AHEAD && ROUNDS == 1) ? fetched : load_constants(gain, alpha, beta, r);
#pragma unroll
        for (int i = 0; i < 16; i++) {
            if (MODE == 1) value[r][i] = widen(narrow(value[r][i] * factor * c.gain[i]));
            shift += value[r][i] * c.beta[i];
            value[r][i] *= c.alpha[i];  // exact: 11 by 11 bits
            top = fmaxf(top, fabsf(value[r][i]));
        }
    }
    shift = add_lanes(shift);
    top = max_lanes(top);
    if (lane == 0) {
        scratch.shift[warp] = shift;
        scratch.top[warp] = top;
    }
    __syncthreads();
    shift = 0.0f;
#pragma unroll
    for (int w = 0; w < 8; w++) {
        shift += scratch.shift[w];
        top = fmaxf(top, scratch.top[w]);
    }
    // the unit brings the largest product to PLANES - 1 bits, and is 2^-48 or more
    int unit = -48;
    if (top > 0.0f) unit = max((int)(__float_as_uint(top) >> 23) - 127 - (PLANES - 2), -48);
    const float inverse = __uint_as_float((u32)(127 - unit) << 23);
    const int limit = (1 << (PLANES - 1)) - 1;
    int total = 0;
#pragma unroll
    for (int r = 0; r < ROUNDS; r++) {
        u32 row[8];
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const int low = min(max(round_to_int(value[r][j] * inverse), -limit), limit);
            const int high = min(max(round_to_int(value[r][j + 8] * inverse), -limit), limit);
            total += low + high;
            row[j] = __byte_perm((u32)low, (u32)high, 0x5410);
        }
        transpose(row);
        const int chunk = r * THREADS + threadIdx.x, word = chunk >> 1;
        if (chunk < CHUNKS) {
            const int step = word >> 3, h = (word >> 2) & 1, t = word & 3;
#pragma unroll
            for (int p = 0; p < PLANES; p++) {
                const int place = (step * 32 + (p & 7) * 4 + t) * PARTS + (p >> 3) * 2 + h;
                planes[2 * place + (chunk & 1)] = (u16)(p < 8 ? row[p] : row[p - 8] >> 16);
            }
        }
    }
    total = __reduce_add_sync(~0u, total);
    if (lane == 0) atomicAdd(&scratch.total, total);
    return Vector{unit, shift};
}

// Grid (sets of scales, vectors). x [M, K] ([M, 2 K] for SwiGLU), gain [K], alpha and beta
// [sets, K], all binary16. planes [sets, M, K/256, 32, PARTS]; meta [sets, M, 4]: exponent of the
// unit, sum of q, bits of the float32 sum beta*x.
extern "C" __global__ void __launch_bounds__(THREADS) prepare(
    const u16 *x, const u16 *gain, const u16 *alpha, const u16 *beta, u32 *planes, int *meta,
    float eps) {
    __shared__ Scratch scratch;
    const int set = blockIdx.x, m = blockIdx.y, place = set * gridDim.y + m;
    if (threadIdx.x == 0) scratch.total = 0;
    const Constants fetched = fetch_constants(gain, alpha + set * K, beta + set * K);
    let_next_start();
    wait_for_previous();
    const Vector v = quantize(
        x + (size_t)m * (MODE == 2 ? 2 * K : K), gain, alpha + set * K, beta + set * K, fetched,
        (u16 *)(planes + (size_t)place * STEPS * 32 * PARTS), eps, scratch);
    __syncthreads();
    if (threadIdx.x == 0) {
        meta[4 * place] = v.unit;
        meta[4 * place + 1] = scratch.total;
        meta[4 * place + 2] = __float_as_int(v.shift);
    }
}
#endif

#ifdef SPLIT
#define TILES (8 / SPLIT)                     // tiles of 16 outputs in a block of 8 warps
#define EACH ((STEPS + SPLIT - 1) / SPLIT)    // steps of a warp

struct alignas(4 * PARTS) Columns { u32 r[PARTS]; };

__device__ __forceinline__ void count_ones(int *c, const uint4 &a, u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

// The weights of a warp's steps: one load of 16 bytes a lane and step, all in flight at once.
__device__ __forceinline__ void load_weights(uint4 (&weight)[EACH], const uint4 *tile, int part) {
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        const int step = i * SPLIT + part;
        if (step < STEPS) {
            asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                         : "=r"(weight[i].x), "=r"(weight[i].y), "=r"(weight[i].z),
                           "=r"(weight[i].w)
                         : "l"(tile + step * 32 + (threadIdx.x & 31)));
        } else {
            weight[i] = make_uint4(0, 0, 0, 0);
        }
    }
}

// Counts of a tile's 16 rows by plane to sums over planes, to partial[16]; by the lanes of a warp.
__device__ __forceinline__ void weigh_planes(int (&ones)[PLANES / 8][4], int *partial) {
    const int lane = threadIdx.x & 31, t = lane & 3;
    int low = 0, high = 0;  // rows g and g + 8
#pragma unroll
    for (int h = 0; h < PLANES / 8; h++) {
        const int p = 8 * h + 2 * t;
        const int odd = (p + 1 == PLANES - 1) ? -1 : 1;
        low += (ones[h][0] << p) + odd * (ones[h][1] << (p + 1));
        high += (ones[h][2] << p) + odd * (ones[h][3] << (p + 1));
    }
    for (int d = 1; d < 4; d <<= 1) {
        low += __shfl_xor_sync(~0u, low, d);
        high += __shfl_xor_sync(~0u, high, d);
    }
    if (t == 0) {
        partial[lane >> 2] = low;
        partial[(lane >> 2) + 8] = high;
    }
}

// Writes 2^unit * (2 sum - total) + shift, plus what is there if add, rounded as golden does.
__device__ __forceinline__ void finish(
    u16 *target, int sum, int total, int unit, float shift, int add) {
    float value = (float)(2 * sum - total) * __uint_as_float((u32)(127 + unit) << 23) + shift;
    if (add) value = widen(narrow(value)) + widen(__ldcg(target));
    *target = narrow(value);
}

#ifdef MODE
// One vector, quantized by every block for itself: that costs less than a kernel ahead would.
// Grid (N / 16 / TILES); arguments as in prepare and sign_gemv.
extern "C" __global__ void __launch_bounds__(THREADS, 2) sign_gemv_one(
    const uint4 *weights, const u16 *x, const u16 *gain, const u16 *alpha, const u16 *beta, u16 *y,
    float eps, int first, int second, int add) {
    extern __shared__ uint4 memory[];
    __shared__ Scratch scratch;
    __shared__ int partial[8][16];
    const Columns *staged = (const Columns *)memory;  // [STEPS][32]
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, part = warp % SPLIT;
    const size_t tile = (size_t)blockIdx.x * TILES + warp / SPLIT;
    uint4 weight[EACH];
    load_weights(weight, weights + tile * STEPS * 32, part);
    if (threadIdx.x == 0) scratch.total = 0;
    const int row0 = blockIdx.x * TILES * 16;
    const int set = (row0 >= first) + (row0 >= second);
    const Constants fetched = fetch_constants(gain, alpha + set * K, beta + set * K);
    if (!LATE) let_next_start();
    wait_for_previous();
    if (LATE) let_next_start();
    const Vector v = quantize(
        x, gain, alpha + set * K, beta + set * K, fetched, (u16 *)memory, eps, scratch);
    __syncthreads();
    int ones[PLANES / 8][4] = {};
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        const int step = min(i * SPLIT + part, STEPS - 1);  // beyond the end weights are 0
        const Columns b = staged[step * 32 + lane];
#pragma unroll
        for (int h = 0; h < PLANES / 8; h++)
            count_ones(ones[h], weight[i], b.r[2 * h], b.r[2 * h + 1]);
    }
    weigh_planes(ones, partial[warp]);
    __syncthreads();
    for (int row = threadIdx.x; row < TILES * 16; row += THREADS) {
        int sum = 0;
        for (int s = 0; s < SPLIT; s++) sum += partial[row / 16 * SPLIT + s][row % 16];
        finish(y + row0 + row, sum, scratch.total, v.unit, v.shift, add);
    }
}
#endif

#ifdef BATCH
// Grid (N / 16 / TILES). weights in tile order; y [count, outputs] binary16, plus y itself if add.
// Outputs below first use set 0 of the scales, below second set 1, else 2.
extern "C" __global__ void __launch_bounds__(THREADS) sign_gemv(
    const uint4 *weights, const u32 *planes, const int *meta, u16 *y, int count, int outputs,
    int first, int second, int add) {
    extern __shared__ uint4 memory[];
    const Columns *staged = (const Columns *)memory;            // [BATCH][STEPS][32]
    int *partial = (int *)(staged + BATCH * STEPS * 32);        // [8][BATCH][16]
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, part = warp % SPLIT;
    const size_t tile = (size_t)blockIdx.x * TILES + warp / SPLIT;
    uint4 weight[EACH];
    load_weights(weight, weights + tile * STEPS * 32, part);
    let_next_start();
    const int row0 = blockIdx.x * TILES * 16;
    const int set = (row0 >= first) + (row0 >= second);
    wait_for_previous();
    for (int m0 = 0; m0 < count; m0 += BATCH) {
        const int here = min(BATCH, count - m0);
        const uint4 *from =
            (const uint4 *)(planes + (size_t)(set * count + m0) * STEPS * 32 * PARTS);
        for (int i = threadIdx.x; i < here * STEPS * 8 * PARTS; i += THREADS)
            memory[i] = __ldcg(from + i);
        __syncthreads();
        int ones[BATCH][PLANES / 8][4] = {};
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const int step = min(i * SPLIT + part, STEPS - 1);  // beyond the end weights are 0
#pragma unroll
            for (int m = 0; m < BATCH; m++) {
                if (m < here) {
                    const Columns b = staged[(m * STEPS + step) * 32 + lane];
#pragma unroll
                    for (int h = 0; h < PLANES / 8; h++)
                        count_ones(ones[m][h], weight[i], b.r[2 * h], b.r[2 * h + 1]);
                }
            }
        }
#pragma unroll
        for (int m = 0; m < BATCH; m++)
            weigh_planes(ones[m], partial + (warp * BATCH + m) * 16);
        __syncthreads();
        for (int i = threadIdx.x; i < here * TILES * 16; i += THREADS) {
            const int m = i / (TILES * 16), row = i % (TILES * 16);
            int sum = 0;
            for (int s = 0; s < SPLIT; s++)
                sum += partial[((row / 16 * SPLIT + s) * BATCH + m) * 16 + row % 16];
            const int *m4 = meta + (size_t)(set * count + m0 + m) * 4;
            finish(y + (size_t)(m0 + m) * outputs + row0 + row, sum, __ldcg(m4 + 1), __ldcg(m4),
                   __int_as_float(__ldcg(m4 + 2)), add);
        }
        __syncthreads();
    }
}
#endif
#endif
