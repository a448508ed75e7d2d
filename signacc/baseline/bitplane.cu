// 1-bit linears for few vectors, by binary matrix instructions. The packed weights are the A
// operand as they lie in memory: nothing is unpacked. Activations are quantized as the contract
// says (docs/contract.md: PLANES-bit integers, one power-of-two unit per vector) and split into bit
// planes, the columns of the B operand. A sum of signs follows from counts of ones:
//     S_i = sum_j s_ij q_j = 2 sum_p c_p popcount(w_i & plane_p) - sum_j q_j,  c_p = 2^p, the top one
// negative. All of it is exact integer arithmetic.
//
// Compiled by NVRTC behind bitplane.cuh and planes.cuh. Macros: K inputs (a multiple of 256), PLANES 8 or 16; MODE (what
// a linear does to its input: 0 nothing, 1 norm, 2 SwiGLU) for prepare and sign_gemv_one; SPLIT
// (warps that share a tile of outputs) for the two GEMVs, BATCH (vectors staged at once) for
// sign_gemv. AHEAD 1 fetches gain and scales before the kernel ahead has ended; LATE 1 lets the next
// kernel start only then, and not at once. Blocks have 256 threads.

// Programmatic dependent launch (PTX ISA, griddepcontrol): a kernel may start, and fetch weights,
// while the one before it ends; what that one wrote is read only after wait_for_previous.
INSIDE void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

INSIDE void let_next_start() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

#define STEPS (K / 256)

struct Team {
    static constexpr int THREADS = 256;
    static INSIDE int thread() { return threadIdx.x; }
    static INSIDE void sync() { __syncthreads(); }
};
#define THREADS 256

#ifdef MODE
#define ROUNDS (Rounds<K, Team>::COUNT)

// Gain and scales are fetched ahead into registers if there is one round of them, else into L2.
INSIDE Constants fetch_constants(const u16 *gain, const u16 *alpha, const u16 *beta) {
    if (AHEAD && ROUNDS == 1) return load_constants<MODE == 1, K, Team>(gain, alpha, beta, 0);
    if (!AHEAD) return Constants{};
    for (int k = threadIdx.x * 64; k < K; k += THREADS * 64) {  // a line of 128 bytes each
        if (MODE == 1) fetch_line(gain + k);
        fetch_line(alpha + k);
        fetch_line(beta + k);
    }
    return Constants{};
}

// A vector as the linear takes it, to bit planes; the sum of q is added to `total`.
INSIDE Vector prepare_vector(
    const u16 *x, const u16 *gain, const u16 *alpha, const u16 *beta, const Constants &fetched,
    u16 *planes, float eps, Scratch &scratch, int &total) {
    const auto input = [&](float (&value)[16], int k) {
        const Sixteen a = load_written(x + k);
        if (MODE == 2) {
            const Sixteen b = load_written(x + K + k);
#pragma unroll
            for (int i = 0; i < 16; i++) value[i] = silu_times(a[i], b[i]);
        } else {
#pragma unroll
            for (int i = 0; i < 16; i++) value[i] = a[i];
        }
    };
    const auto constants = [&](int r) {
        if (AHEAD && ROUNDS == 1) return fetched;
        return load_constants<MODE == 1, K, Team>(gain, alpha, beta, r);
    };
    const Vector v = quantize<MODE == 1, K, Team>(input, constants, planes, eps, scratch);
    const int sum = __reduce_add_sync(~0u, v.total);
    if ((threadIdx.x & 31) == 0) atomicAdd(&total, sum);
    return v;
}

// Grid (sets of scales, vectors). x [M, K] ([M, 2 K] for SwiGLU), gain [K], alpha and beta
// [sets, K], all binary16. planes [sets, M, K/256, 32, PARTS]; meta [sets, M, 4]: exponent of the
// unit, sum of q, bits of the float32 sum beta*x.
extern "C" __global__ void __launch_bounds__(THREADS) prepare(
    const u16 *x, const u16 *gain, const u16 *alpha, const u16 *beta, u32 *planes, int *meta,
    float eps) {
    __shared__ Scratch scratch;
    __shared__ int total;
    const int set = blockIdx.x, m = blockIdx.y, place = set * gridDim.y + m;
    if (threadIdx.x == 0) total = 0;
    const Constants fetched = fetch_constants(gain, alpha + set * K, beta + set * K);
    let_next_start();
    wait_for_previous();
    const Vector v = prepare_vector(
        x + (size_t)m * (MODE == 2 ? 2 * K : K), gain, alpha + set * K, beta + set * K, fetched,
        (u16 *)(planes + (size_t)place * STEPS * 32 * PARTS), eps, scratch, total);
    __syncthreads();
    if (threadIdx.x == 0) {
        meta[4 * place] = v.unit;
        meta[4 * place + 1] = total;
        meta[4 * place + 2] = __float_as_int(v.shift);
    }
}
#endif

#ifdef SPLIT
#define TILES (8 / SPLIT)                     // tiles of 16 outputs in a block of 8 warps
#define EACH ((STEPS + SPLIT - 1) / SPLIT)    // steps of a warp

// The weights of a warp's steps: one load of 16 bytes a lane and step, all in flight at once.
INSIDE void load_weights(uint4 (&weight)[EACH], const uint4 *tile, int part) {
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

// Writes a result, plus what is there if add, rounded as golden does.
INSIDE void finish(u16 *target, int sum, int total, int unit, float shift, int add) {
    const float value = result_of(sum, total, unit, shift);
    *target = add ? add_rounded(value, __ldcg(target)) : narrow(value);
}

#ifdef MODE
// One vector, quantized by every block for itself: that costs less than a kernel ahead would.
// Grid (N / 16 / TILES); arguments as in prepare and sign_gemv.
extern "C" __global__ void __launch_bounds__(THREADS, 2) sign_gemv_one(
    const uint4 *weights, const u16 *x, const u16 *gain, const u16 *alpha, const u16 *beta, u16 *y,
    float eps, int first, int second, int add) {
    extern __shared__ uint4 memory[];
    __shared__ Scratch scratch;
    __shared__ int total;
    __shared__ int partial[8][16];
    const Columns *staged = (const Columns *)memory;  // [STEPS][32]
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, part = warp % SPLIT;
    const size_t tile = (size_t)blockIdx.x * TILES + warp / SPLIT;
    uint4 weight[EACH];
    load_weights(weight, weights + tile * STEPS * 32, part);
    if (threadIdx.x == 0) total = 0;
    const int row0 = blockIdx.x * TILES * 16;
    const int set = (row0 >= first) + (row0 >= second);
    const Constants fetched = fetch_constants(gain, alpha + set * K, beta + set * K);
    if (!LATE) let_next_start();
    wait_for_previous();
    if (LATE) let_next_start();
    const Vector v = prepare_vector(
        x, gain, alpha + set * K, beta + set * K, fetched, (u16 *)memory, eps, scratch, total);
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
        finish(y + row0 + row, sum, total, v.unit, v.shift, add);
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
