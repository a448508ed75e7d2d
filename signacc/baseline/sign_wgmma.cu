// 1-bit linears for many vectors on Hopper: y[m, n] = sum_j s_nj x[m, j] + shift[m], plus y itself if
// `residual`. The signs are operand A of the warpgroup matrix instruction (wgmma) and come from
// registers; the vectors are operand B and come from shared memory, where the copy engine puts them.
// A thread's sign bits lie in memory in the order of its registers (packing.fragment_order), so a
// register of operand A costs a shift and one logic operation, and no dense weight exists anywhere.
//
// Compiled by NVRTC for sm_90a, behind hopper.cuh and wgmma.cuh. Macros:
//   BITS 16: binary16 vectors, a sign is +1.0 or -1.0, sums in float32.
//   BITS 8: int8 vectors, a sign is 1 or 0, sums in int32, exact:
//           y = scale[m] * (2 * sum - total[m]) + shift[m].
//   CONSUMERS warpgroups that multiply, ROWS tiles of 64 outputs of each; VECTORS of a block (16, 32,
//   64, 128 or 256); STAGES of 128 bytes of every vector in shared memory; SPLIT blocks of a cluster that
//   share the inputs of a tile (1, 2, 4, 8) and add their sums through distributed shared memory;
//   RING bytes of shared memory for stages, later for sums and results.
// One more warpgroup, or one warp if there is a single consumer, only starts copies. Layouts: PTX ISA,
// "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions".

#define TILE (64 * ROWS * CONSUMERS)  // outputs of a block
#define THREADS (128 * CONSUMERS + (CONSUMERS == 1 ? 32 : 128))
#define STAGE_BYTES (VECTORS * 128)
#define GROUP_STAGES (BITS / 4)  // stages of 256 inputs, for which a thread's sign bits are 16 bytes
#define SUMS (VECTORS / 2)       // registers of a tile's sums in a thread
#define KEPT (SUMS / SPLIT)      // of which a block of a cluster finishes so many
#define PITCH (TILE * 2 + 16)    // bytes of a vector's outputs in shared memory, off the bank grid
#define EXCHANGE (SPLIT > 1 ? TILE * VECTORS * 4 : 0)

struct Vectors {  // what a finished sum of a vector needs
    float shift[VECTORS];
#if BITS == 8
    float scale[VECTORS];
    int total[VECTORS];
#endif
};

// Descriptor of vectors in shared memory: rows of 128 bytes, swizzled by 128, 8 rows in 1,024 bytes.
INSIDE u64 describe(u32 address) {
    return (u64)((address & 0x3ffff) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

// Registers of operand A of step `i` of a stage, from the thread's bits of 256 inputs.
INSIDE void unpack(u32 (&a)[4], const u32 (&words)[4], int stage, int i, u32 mask) {
#pragma unroll
    for (int r = 0; r < 4; ++r) {
#if BITS == 16
        a[r] = flip_ones(words[stage] << (4 * i + r), mask);
#else
        a[r] = (words[2 * stage + i / 2] >> (4 * (i & 1) + r)) & mask;
#endif
        settle(a[r]);
    }
}

INSIDE float finish(Sum sum, const Vectors &v, int vector) {
#if BITS == 16
    return sum + v.shift[vector];
#else
    return (float)(2 * sum - v.total[vector]) * v.scale[vector] + v.shift[vector];
#endif
}

// Binary16 results of a tile of 64 outputs into rows of PITCH bytes, a vector each. In a thread
// sums 4j + 2h + c are of output 16 * warp + lane / 4 + 8h and vector 8j + 2 (lane % 4) + c.
INSIDE void stage_results(const Sum (&d)[KEPT], const Vectors &v, int first, u32 rows, int lane) {
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
        store_transposed(to + 8 * j * PITCH, r);
    }
}

struct Tile {
    int start, end, set;  // outputs from start, below end; the set of input scales they share
};

// Tiles of a set of scales never reach into the next.
INSIDE Tile tile_of(int index, int first, int second, int outputs) {
    const int one = (first + TILE - 1) / TILE, two = one + (second - first + TILE - 1) / TILE;
    if (index < one) return Tile{index * TILE, first, 0};
    if (index < two) return Tile{first + (index - one) * TILE, second, 1};
    return Tile{second + (index - two) * TILE, outputs, 2};
}

// Signs of the `row`-th 64 outputs of a tile. Those beyond the end repeat the last; their results are
// not written.
INSIDE const u32 *signs_of(const u32 *bits, const Tile &tile, int row, int outputs, int groups) {
    return bits + (u64)min(tile.start / 64 + row, outputs / 64 - 1) * groups * 512;
}

// Staged results to y, 8 outputs of a vector at a time.
INSIDE void write_results(
    u32 staged, u16 *y, int start_m, int count, int outputs, const Tile &tile, int residual) {
    for (int i = threadIdx.x; i < VECTORS / SPLIT * (TILE / 8); i += 128 * CONSUMERS) {
        const int v = i / (TILE / 8), c = i % (TILE / 8), n = tile.start + 8 * c;
        if (start_m + v >= count || n >= tile.end) continue;
        uint4 r = *(const uint4 *)shared_pointer(staged + v * PITCH + c * 16);
        uint4 *to = (uint4 *)(y + (u64)(start_m + v) * outputs + n);
        if (residual) {
            const uint4 old = *to;
            r = uint4{add_halves(r.x, old.x), add_halves(r.y, old.y), add_halves(r.z, old.z),
                      add_halves(r.w, old.w)};
        }
        *to = r;
    }
}

KERNEL
#if SPLIT > 1
__cluster_dims__(SPLIT, 1, 1)
#endif
__launch_bounds__(THREADS, CONSUMERS == 1 ? 2 : 1)
sign_wgmma(const __grid_constant__ TensorMap map, const u32 *bits, const float *shifts,
           const float *scales, const int *totals, u16 *y, int count, int outputs, int inputs,
           int first, int second, int residual) {
    const u32 ring = (shared_start() + 1023) & ~1023u;
    Vectors &vectors = *(Vectors *)shared_pointer(ring + RING);
    const u32 full = ring + RING + sizeof(Vectors), empty = full + 8 * STAGES;
    const int warpgroup = uniform(threadIdx.x / 128), lane = threadIdx.x & 31;
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
        barriers_visible();
    }
    block_sync();

    if (warpgroup == CONSUMERS) {
#if CONSUMERS == 2
        fewer_registers<40>();
#elif CONSUMERS == 3
        fewer_registers<32>();
#endif
        if (threadIdx.x == 128 * CONSUMERS) {
            fetch_map(map);
            // a group takes less time than a load from memory unless vectors are many; signs are the
            // only input that no kernel wrote, so they come while the one before ends
            if (blockIdx.y == 0 && begin < finish_group)
                for (int row = 0; row < ROWS * CONSUMERS; ++row)
                    fetch_ahead(signs_of(bits, tile, row, outputs, groups) + begin * 512,
                                (finish_group - begin) * 2048);
            wait_for_previous();
            const int last = finish_group * GROUP_STAGES;
            for (int k = begin * GROUP_STAGES, s = 0, round = 0; k < last; ++k) {
                // the first round finds every place free
                barrier_wait(empty + 8 * s, (round & 1) ^ 1);
                barrier_expect(full + 8 * s, STAGE_BYTES);
                copy_box(ring + s * STAGE_BYTES, map, full + 8 * s, k * (256 / GROUP_STAGES), start_m,
                         tile.set);
                if (++s == STAGES) s = 0, ++round;
            }
        }
    } else {
#if CONSUMERS == 2
        more_registers<232>();
#elif CONSUMERS == 3
        more_registers<160>();
#endif
        const int thread = threadIdx.x & 127;
        const u32 *from[ROWS];
#pragma unroll
        for (int row = 0; row < ROWS; ++row)
            from[row] = signs_of(bits, tile, warpgroup * ROWS + row, outputs, groups) + thread * 4;
        u32 words[ROWS][4], ahead[ROWS][4], a[2][ROWS][4];
#pragma unroll
        for (int row = 0; row < ROWS; ++row) load_four(ahead[row], from[row] + begin * 512);
        wait_for_previous();
#pragma unroll 1
        for (int v = threadIdx.x; v < VECTORS; v += 128 * CONSUMERS) {  // once or twice
            const bool inside = start_m + v < count;
            const int at = tile.set * count + start_m + v;
            vectors.shift[v] = inside ? shifts[at] : 0.0f;
#if BITS == 8
            vectors.scale[v] = inside ? scales[at] : 0.0f;
            vectors.total[v] = inside ? totals[at] : 0;
#endif
        }
        Sum sums[ROWS][SUMS];
#pragma unroll
        for (int row = 0; row < ROWS; ++row)
#pragma unroll
            for (int i = 0; i < SUMS; ++i) sums[row][i] = 0;
        const u32 mask = constant<BITS == 16 ? 0x80008000 : 0x01010101>();
        int s = 0, before = -1;
        u32 parity = 0;
        for (int group = begin; group < finish_group; ++group) {
            const int next = min(group + 1, finish_group - 1);
#pragma unroll
            for (int row = 0; row < ROWS; ++row) {
#pragma unroll
                for (int i = 0; i < 4; ++i) words[row][i] = ahead[row][i];
                load_four(ahead[row], from[row] + next * 512);
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
                    steps_fence();
#pragma unroll
                    for (int row = 0; row < ROWS; ++row)
                        multiply(sums[row], a[i & 1][row], vectors_at + 2 * i);
                    step_done();
                    wait_steps<1>();
                    if (i == 0 && before >= 0 && lane == 0) barrier_arrive(empty + 8 * before);
                }
                before = s;
                if (++s == STAGES) s = 0, parity ^= 1;
            }
        }
        wait_steps<0>();
        let_next_start();
#pragma unroll
        for (int row = 0; row < ROWS; ++row)
#pragma unroll
            for (int i = 0; i < SUMS; ++i) settle(sums[row][i]);
        // nobody reads the ring any more: it takes sums and results; and `vectors` is written
        named_sync<128 * CONSUMERS>();
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
        named_sync<128 * CONSUMERS>();
        write_results(ring + EXCHANGE, y, start_m + rank * (VECTORS / SPLIT), count, outputs, tile,
                      residual);
#if SPLIT > 1
        cluster_wait();  // others may still read this block's sums
#endif
    }
}
