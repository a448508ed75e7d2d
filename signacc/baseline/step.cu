// A decode step of one vector in one launch: a block a processor, all resident. In a phase of a layer a
// block works on outputs of its own:
//   qkv      norm, bit planes, signs           -> qkv, tagged
//   attend   RoPE, a span of a head's cache    -> parts, sums; barrier
//   out      spans joined, bit planes, signs   -> x, tagged
//   gate_up  norm, bit planes, signs, SwiGLU   -> hidden, tops, shifts; barrier
//   down     bit planes, signs                 -> x, tagged
// Barriers are in global memory; what is tagged is waited for number by number (grid.cuh). Tags count
// from 1 in each step: of x by its phases, of qkv by layers, and qkv is left with tag 0.
// At the end is the 16-bit head. Bit planes and sums are those of bitplane.cu.
//
// What does not depend on the vector does not wait for it: one thread copies signs, cached keys and
// values, and the head through a ring in shared memory, in the order of their use, as far ahead as the
// ring is long; scales are in registers when a barrier opens.
//
// Compiled by NVRTC for sm_90a behind hopper.cuh, bitplane.cuh, planes.cuh, grid.cuh and attend.cuh. Macros:
// HIDDEN, FFN, HEADS, KV_HEADS, DIM, VOCAB of the model; PLANES; WARPS that compute; SLOTS of the
// ring; FLIGHT, copies of a layer that are under way at once, 0 for no limit; TILES, the most tiles of 16
// outputs of a block in a phase; LEAN 1, see planes.cuh; STAMPS 1, to stamp phases with the clock; SKIP, bits
// of what is left out to time the rest, with wrong results: 1 attention, 2 bit planes, 4 counting, 8 copies,
// 16 head, 32 barriers.

#ifndef STAMPS
#define STAMPS 0
#endif
#define PHASES 5
#define MARKS 5

#define STEP 512  // bytes of the signs of 16 outputs by 256 inputs
#define HEAD_ROWS (SLOT / 2 / HIDDEN)
#define STEPS_OF(inputs) ((inputs) / 256)
// warps of a team that share a tile
#define SHARING(inputs) \
    (STEPS_OF(inputs) >= 8 ? 8 : STEPS_OF(inputs) >= 4 ? 4 : STEPS_OF(inputs) >= 2 ? 2 : 1)
#define PLANE_BYTES(inputs) (STEPS_OF(inputs) * 128 * PARTS)
#define MORE(a, b) ((a) > (b) ? (a) : (b))
// bit planes; between linears what attention joins, and the vector ahead of the head
#define PARTIAL_BYTES (TILES * 8 * 16 * 4)
#define STAGED_BYTES \
    MORE(MORE(PLANE_BYTES(FFN), 2 * PLANE_BYTES(HIDDEN)), MORE(4 * HIDDEN, ATTEND_BYTES))

struct Layer {
    const unsigned char *qkv, *out, *gate_up, *down;        // signs in tile order
    const u16 *scale_qkv, *shift_qkv, *scale_out, *shift_out, *scale_gate_up, *shift_gate_up,
        *scale_down, *shift_down;                           // alpha and beta, [sets, inputs]
    const u16 *gain_qkv, *gain_gate_up;
};

struct Model {
    const Layer *layers;
    const u16 *embedding, *head, *gain;
    const float *cos, *sin;  // [positions, DIM / 2]
    int count;               // of layers
    float eps;
};

struct Cached {
    u16 *keys, *values;  // [KV_HEADS, capacity, DIM]
};

struct Cache {
    const Cached *layers;
    int capacity;
    Spans spans;
};

// What blocks leave for each other; tops and counters are 0 before and after a step.
struct Buffers {
    Tagged<HIDDEN> x;
    Tagged<QKV> qkv;
    u16 *parts, *hidden, *logits;
    float2 *sums;
    float *shifts;  // of each tile of `hidden`, its part of beta * x ahead of `down`
    u32 *tops;      // of each layer, bits of the largest product ahead of `down`
    u32 *counters;
    u32 *stamps;    // [blocks, layers + 1, PHASES, MARKS], the head's behind the layers'; STAMPS alone
};

struct Prepared {  // what belongs to the bit planes of a team
    Scratch scratch;
    int unit, padding;  // the same size on every compiler: the host counts it, too
};

struct Shared {
    Prepared of[2];
    u64 full[SLOTS], empty[SLOTS];
    // pointers lie behind it: each from global memory would be waited for in its phase
    INSIDE Layer *layers() { return (Layer *)(this + 1); }
    INSIDE Cached *cached(const Model &model) { return (Cached *)(layers() + model.count); }
};

// ---- copies ----

INSIDE void copy_tiles(Ring &ring, const unsigned char *signs, int inputs, int first, int tiles) {
    const int each = STEPS_OF(inputs) * STEP;
    ring.put_all(signs + (size_t)first * each, tiles * each);
}

INSIDE void copy_cached(Ring &ring, const Cache &cache, const Cached &layer) {
    const Span of = cache.spans.positions();
    const size_t row = (size_t)(cache.spans.head() / GROUP) * cache.capacity + of.first;
    const u16 *keys = layer.keys + row * DIM, *values = layer.values + row * DIM;
    for (int p = 0; p < of.count; p += CACHE_ROWS) {
        const int bytes = min(CACHE_ROWS, of.count - p) * DIM * 2;
        ring.put(keys + (size_t)p * DIM, bytes);
        ring.put(values + (size_t)p * DIM, bytes);
    }
}

// Everything that this block reads of model and cache, in the order of its use.
INSIDE void copy_step(
    Ring ring, const Model &model, const Cache &cache, Shared &shared) {
    const Span qkv = share_of(QKV / 16), out = share_of(HIDDEN / 16), pairs = share_of(FFN / 16);
    for (int layer = 0; layer < model.count; layer++) {
        const Layer &here = shared.layers()[layer];
        copy_tiles(ring, here.qkv, HIDDEN, qkv.first, qkv.count);
        if (!(SKIP & 1) && cache.spans.any()) copy_cached(ring, cache, shared.cached(model)[layer]);
        copy_tiles(ring, here.out, HIDDEN, out.first, out.count);
        copy_tiles(ring, here.gate_up, HIDDEN, pairs.first, pairs.count);
        copy_tiles(ring, here.gate_up, HIDDEN, FFN / 16 + pairs.first, pairs.count);
        copy_tiles(ring, here.down, FFN, out.first, out.count);
    }
    if (SKIP & 16) return;
    const Span rows = share_of(VOCAB);
    for (int r = 0; r < rows.count; r += HEAD_ROWS)  // nothing else is left to do: all at once
        ring.put<0>(model.head + (size_t)(rows.first + r) * HIDDEN,
                    min(HEAD_ROWS, rows.count - r) * HIDDEN * 2);
}

// ---- parts of a linear ----

// Counts ones of `tiles` tiles of INPUTS, from tile `first` behind slot `ahead` on, by OF warps, to
// partial [tile][sharing warp][16]. A warp has some tiles under way at once, up to MOST.
template <int INPUTS, int OF, int MOST>
INSIDE void count_tiles(
    const unsigned char *memory, const Ring &ring, int ahead, int first, int tiles,
    const unsigned char *planes, int warp, int *partial) {
    constexpr int STEPS = STEPS_OF(INPUTS), SHARE = SHARING(INPUTS);
    constexpr int EACH = (STEPS + SHARE - 1) / SHARE;
    constexpr int TURNS = (TILES / 2 * SHARE + OF - 1) / OF, TOGETHER = TURNS < MOST ? TURNS : MOST;
    const int lane = threadIdx.x & 31, part = warp % SHARE;
    if (SKIP & 4) return;
    Columns b[EACH];
#pragma unroll
    for (int i = 0; i < EACH; i++)
        b[i] = ((const Columns *)planes)[columns_at(min(i * SHARE + part, STEPS - 1), lane)];
    // the ring is a ring of bytes, too
    const u32 here = (ring.slot + ahead) * SLOT + first * STEPS * STEP + 16 * lane;
    for (int begin = warp / SHARE; begin < tiles; begin += TOGETHER * OF / SHARE) {
        int tile[TOGETHER], ones[TOGETHER][PLANES / 8][4] = {};
#pragma unroll
        for (int t = 0; t < TOGETHER; t++) {
            tile[t] = begin + t * OF / SHARE;
            if (tile[t] >= tiles) tile[t] = begin;  // again, rather than a branch between
        }
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const int step = i * SHARE + part;
            if (step >= STEPS) continue;
#pragma unroll
            for (int t = 0; t < TOGETHER; t++) {
                const u32 byte = here + (tile[t] * STEPS + step) * STEP;
                const uint4 a = *(const uint4 *)(memory + min(byte, byte - SLOTS * SLOT));
#pragma unroll
                for (int h = 0; h < PLANES / 8; h++)
                    count_ones(ones[t][h], a, b[i].r[2 * h], b[i].r[2 * h + 1]);
            }
        }
#pragma unroll
        for (int t = 0; t < TOGETHER; t++)
            weigh_planes(ones[t], partial + (tile[t] * SHARE + part) * 16);
    }
}

// A result from what the warps counted; row 0 is the first of partial. Team prepared the vector.
template <int INPUTS, class Team>
INSIDE float result_at(const int *partial, int row, const int *totals, int unit, float shift) {
    constexpr int SHARE = SHARING(INPUTS);
    int sum = 0, total = 0;
#pragma unroll
    for (int s = 0; s < SHARE; s++) sum += partial[(row / 16 * SHARE + s) * 16 + row % 16];
#pragma unroll
    for (int w = 0; w < Team::THREADS / 32; w++) total += totals[w];
    return result_of(sum, total, unit, shift);
}

// ---- phases ----

struct Step {
    const Model &model;
    const Cache &cache;
    const Buffers &to;
    unsigned char *memory, *staged;  // the ring; bit planes and others
    int *partial;
    Shared &shared;
    Ring ring;
    Meeting meeting;
    const u16 *embedded;
    int stamped;

    // With STAMPS, when this block's first thread begins a phase (0), its weights are there (1), its inputs
    // are (2), its bit planes (3) or the cache's part of attention, and its sums (4).
    INSIDE void mark(int what) const {
        if (STAMPS && threadIdx.x == 0) to.stamps[stamped + what] = clock_now();
    }
    INSIDE void begin(int layer, int phase) {
        if (STAMPS) stamped = ((blockIdx.x * (model.count + 1) + layer) * PHASES + phase) * MARKS;
        mark(0);
    }

    // A team's vector to bit planes, and what belongs to them to `into`.
    template <bool NORM, class Input, class Fetch>
    INSIDE void prepare(
        const Input &input, const Fetch &constants, unsigned char *planes, Prepared &into) {
        if (SKIP & 2) {  // and still wait
            float value[Rounds<HIDDEN, Half>::COUNT][16];
            read_inputs<HIDDEN, Half>(value, input);
            return;
        }
        const Vector v = quantize<NORM, HIDDEN, Half>(
            input, constants, (u16 *)planes, model.eps, into.scratch);
        const int total = __reduce_add_sync(~0u, v.total);
        if (Half::thread() % 32 == 0) into.scratch.total[Half::thread() / 32] = total;
        if (Half::thread() == 0) into.unit = v.unit;
    }

    static INSIDE float shift_of(const Prepared &by) { return result_shift<Half>(by.scratch); }

    static INSIDE void read_plain(float (&value)[16], const u16 *from) {
        const Sixteen part = load_written(from);
#pragma unroll
        for (int i = 0; i < 16; i++) value[i] = part[i];
    }

    INSIDE void read_x(float (&value)[16], int k, u32 tag) const {
        uint4 words[4];
        k = computed_here(k);
        to.x.get(words, tag, [&](int i) { return k + 4 * i; });
#pragma unroll
        for (int i = 0; i < 4; i++) {
            value[4 * i] = widen((u16)words[i].x);
            value[4 * i + 1] = widen((u16)words[i].y);
            value[4 * i + 2] = widen((u16)words[i].z);
            value[4 * i + 3] = widen((u16)words[i].w);
        }
    }

    // A linear of HIDDEN inputs whose sets of scales, of so many tiles, lie behind each other:
    // write(output, result, whether it is own_row()) of this block's. Most blocks have one set.
    template <bool NORM, class Input, class Write>
    INSIDE void linear(
        int set_tiles, int last_tiles, int sets, const u16 *gain, const u16 *alpha, const u16 *beta,
        const Input &input, const Write &write) {
        const Span tiles = share_of(set_tiles + (sets - 1) * last_tiles);
        const int slots = slots_of(tiles.count * STEPS_OF(HIDDEN) * STEP);
        constexpr bool ONCE = Rounds<HIDDEN, Half>::COUNT == 1;
        const bool prepares = tiles.count > 0 && threadIdx.x < Half::THREADS;
        int set = tiles.first < set_tiles ? 0 : 1 + (tiles.first - set_tiles) / last_tiles;
        const auto load = [&](int r) {
            return load_constants<NORM, HIDDEN, Half>(
                gain, alpha + set * HIDDEN, beta + set * HIDDEN, r);
        };
        Constants ahead{};
        if (ONCE && prepares) ahead = load(0);
        ring.wait(slots);
        mark(1);
        if (NORM)
            Whole::sync();
        else
            meeting.wait();
        if (!NORM) mark(2);
        for (int tile = tiles.first; tile < tiles.end();) {
            const int here = min(tiles.end(), set_tiles + set * last_tiles) - tile;
            if (prepares)
                prepare<NORM>(
                    input, [&](int r) { return ONCE ? ahead : load(r); }, staged, shared.of[0]);
            Whole::sync();
            mark(3);
            count_tiles<HIDDEN, WARPS, NORM ? 3 : 1>(
                memory, ring, 0, tile - tiles.first, here, staged, threadIdx.x / 32, partial);
            Whole::sync();
            mark(4);
            const Prepared &by = shared.of[0];
            for (int row = threadIdx.x; row < 16 * here; row += Whole::THREADS)
                write(16 * tile + row,
                      result_at<HIDDEN, Half>(
                          partial, row, by.scratch.total, by.unit, shift_of(by)),
                      tile == tiles.first && row == threadIdx.x);
            tile += here;
            if (tile < tiles.end()) {  // the next set
                set++;
                if (ONCE && prepares) ahead = load(0);
                Whole::sync();
            }
        }
        ring.release(slots);
    }

    INSIDE void qkv(const Layer &layer, int index) {
        begin(index, 0);
        linear<true>(
            HEADS * DIM / 16, KV_HEADS * DIM / 16, 3, layer.gain_qkv, layer.scale_qkv,
            layer.shift_qkv,
            [&](float (&value)[16], int k) {
                if (index)
                    read_x(value, k, 2 * index);
                else
                    read_plain(value, embedded + k);
                mark(2);
            },
            [&](int output, float result, bool) {
                to.qkv.put(output, narrow(result), index + 1);
            });
    }

    INSIDE void attention(const Cached &layer, int index) {
        begin(index, 1);
        const Spans &spans = cache.spans;
        Turn turn{};
        if (spans.any())
            turn = turn_at(model.cos, model.sin, 8 * (threadIdx.x % ROW_LANES), spans.last);
        Whole::sync();
        mark(1);
        if (!(SKIP & 1) && spans.any())
            attend(spans, turn, to.qkv, index + 1, layer.keys, layer.values, cache.capacity, memory,
                   ring, (float *)staged, to.parts, to.sums, [&](int what) { mark(what); });
        mark(4);
        meeting.arrive();
    }

    // This thread's first output of x in `out` and `down`: no other thread writes it, so that what is
    // added to it may be read ahead.
    INSIDE int own_row() const {
        const Span tiles = share_of(HIDDEN / 16);
        const int row = min((int)threadIdx.x, max(0, 16 * tiles.count - 1));
        return computed_here(16 * tiles.first + row);
    }

    INSIDE void out(const Layer &layer, int index) {
        begin(index, 2);
        const auto before = [&](int k) { return index ? to.x.own(k) : __ldg(embedded + k); };
        const u16 there = before(own_row());
        linear<false>(
            HIDDEN / 16, 0, 1, nullptr, layer.scale_out, layer.shift_out,
            [&](float (&value)[16], int k) {
                join_spans(value, to.parts, to.sums, cache.spans.splits, k);
            },
            [&](int output, float result, bool own) {
                to.x.put(output, add_rounded(result, own ? there : before(output)), 2 * index + 1);
            });
    }

    // Half of the warps prepare and count for the gate, half for the same rows of the other.
    INSIDE void gate_up(const Layer &layer, int index) {
        begin(index, 3);
        const Span pairs = share_of(FFN / 16);
        const int half = threadIdx.x / Half::THREADS, lane = threadIdx.x & 31;
        const int slots = slots_of(pairs.count * STEPS_OF(HIDDEN) * STEP), rows = 16 * pairs.count;
        constexpr bool ONCE = Rounds<HIDDEN, Half>::COUNT == 1;
        unsigned char *planes = staged + half * PLANE_BYTES(HIDDEN);
        int *counted = partial + half * pairs.count * SHARING(HIDDEN) * 16;
        const auto load = [&](int r) {
            return load_constants<true, HIDDEN, Half>(
                layer.gain_gate_up, layer.scale_gate_up + half * HIDDEN,
                layer.shift_gate_up + half * HIDDEN, r);
        };
        const u16 *scale = layer.scale_down + 16 * pairs.first;
        const u16 *offset = layer.shift_down + 16 * pairs.first;
        Constants ahead{};
        if (ONCE) ahead = load(0);
        const int mine = max(0, min((int)threadIdx.x, rows - 1));
        const u16 next_scale = __ldg(scale + mine), next_offset = __ldg(offset + mine);
        u32 *top = to.tops + index;
        // all have read it: they have met since
        if (blockIdx.x == 0 && threadIdx.x == 0 && index) top[-1] = 0;
        ring.wait(2 * slots);
        mark(1);
        Whole::sync();
        if (rows) {
            prepare<true>(
                [&](float (&value)[16], int k) {
                    read_x(value, k, 2 * index + 1);
                    mark(2);
                },
                [&](int r) { return ONCE ? ahead : load(r); }, planes, shared.of[half]);
        }
        Half::sync();
        mark(3);
        count_tiles<HIDDEN, WARPS / 2, 3>(
            memory, ring, half * slots, 0, pairs.count, planes, Half::thread() / 32, counted);
        Whole::sync();
        mark(4);
        const Prepared &gates = shared.of[0], &ups = shared.of[1];
        for (int first = threadIdx.x & ~31; first < rows; first += Whole::THREADS) {
            const int row = first + lane;
            float product = 0.0f, shift = 0.0f;
            if (row < rows) {
                const bool ahead_of = first < Whole::THREADS;
                const float gate = widen(narrow(result_at<HIDDEN, Half>(
                    partial, row, gates.scratch.total, gates.unit, shift_of(gates))));
                const float up = widen(narrow(result_at<HIDDEN, Half>(
                    partial + pairs.count * SHARING(HIDDEN) * 16, row, ups.scratch.total, ups.unit,
                    shift_of(ups))));
                const float value = silu_times(gate, up);
                to.hidden[16 * pairs.first + row] = narrow(value);
                product = value * widen(ahead_of ? next_scale : __ldg(scale + row));
                shift = value * widen(ahead_of ? next_offset : __ldg(offset + row));
            }
#pragma unroll
            for (int d = 8; d; d >>= 1) shift += __shfl_xor_sync(~0u, shift, d);
            if (row < rows && lane % 16 == 0) to.shifts[pairs.first + row / 16] = shift;
            // floats of one sign are in order as integers
            const u32 largest =
                __reduce_max_sync(~0u, __float_as_uint(fmaxf(0.0f, fabsf(product))));
            if (lane == 0) atomicMax(top, largest);
        }
        meeting.arrive();
        ring.release(2 * slots);
    }

    // The largest product and beta * x are known: gate_up left them.
    INSIDE void down(const Layer &layer, int index) {
        begin(index, 4);
        const Span tiles = share_of(HIDDEN / 16);
        const int slots = slots_of(tiles.count * STEPS_OF(FFN) * STEP), warp = threadIdx.x / 32;
        constexpr int ROUNDS = Rounds<FFN, Whole>::COUNT;
        Sixteen ahead[ROUNDS];
#pragma unroll
        for (int r = 0; r < ROUNDS; r++)
            ahead[r] = load_constant(layer.scale_down + Rounds<FFN, Whole>::input(r));
        const u16 there = to.x.own(own_row());
        ring.wait(slots);
        mark(1);
        meeting.wait();
        mark(2);
        if (tiles.count) {
            Scratch &scratch = shared.of[0].scratch;
            const float top = __uint_as_float(__ldcg(to.tops + index));
            const int unit = unit_of(top);
            float shift = 0.0f;
#pragma unroll
            for (int r = 0; r < ROUNDS; r++) {
                const int i = computed_here(Rounds<FFN, Whole>::chunk(r));
                shift += i < FFN / 16 ? __ldcg(to.shifts + i) : 0.0f;
            }
            if (!(SKIP & 2)) {
                float value[ROUNDS][16];
                read_inputs<FFN, Whole>(
                    value, [&](float (&value)[16], int k) {
                        read_plain(value, to.hidden + computed_here(k));
                    });
#pragma unroll
                for (int r = 0; r < ROUNDS; r++)
#pragma unroll
                    for (int i = 0; i < 16; i++) value[r][i] *= ahead[r][i];
                const int total = __reduce_add_sync(
                    ~0u, write_planes<FFN, Whole>(value, unit, top, (u16 *)staged));
                if (threadIdx.x % 32 == 0) scratch.total[warp] = total;
            }
            shift = add_lanes(shift);
            if (threadIdx.x % 32 == 0) scratch.shift[warp] = shift;
            Whole::sync();
            mark(3);
            count_tiles<FFN, WARPS, 1>(memory, ring, 0, 0, tiles.count, staged, warp, partial);
            Whole::sync();
            mark(4);
            shift = 0.0f;
#pragma unroll
            for (int w = 0; w < WARPS; w++) shift += scratch.shift[w];
            for (int row = threadIdx.x; row < 16 * tiles.count; row += Whole::THREADS) {
                const int k = 16 * tiles.first + row;
                const float result =
                    result_at<FFN, Whole>(partial, row, scratch.total, unit, shift);
                to.x.put(k, add_rounded(result, row == threadIdx.x ? there : to.x.own(k)),
                         2 * index + 2);
            }
        }
        ring.release(slots);
    }

    // 16-bit rows by the normed vector. Its factor is in the vector that is staged, so that nothing else is
    // handed from one warp to all.
    INSIDE void head() {
        begin(model.count, 0);
        const Span rows = share_of(VOCAB);
        const int lane = threadIdx.x & 31, warp = threadIdx.x / 32;
        float4 *x = (float4 *)staged;  // of each 8 elements the first 4, and those of the other lanes
        Whole::sync();
        meeting.leave();
        if (threadIdx.x < Half::THREADS) {
            float value[Rounds<HIDDEN, Half>::COUNT][16];
            const float square = read_inputs<HIDDEN, Half>(
                value, [&](float (&value)[16], int k) {
                    read_x(value, k, 2 * model.count);
                    mark(2);
                });
            const float factor =
                norm_factor<HIDDEN, Half>(square, model.eps, shared.of[0].scratch);
#pragma unroll
            for (int r = 0; r < Rounds<HIDDEN, Half>::COUNT; r++) {
                if (Rounds<HIDDEN, Half>::chunk(r) >= Rounds<HIDDEN, Half>::CHUNKS) continue;
                const int k = Rounds<HIDDEN, Half>::input(r);
                const Sixteen gain = load_constant(model.gain + k);
#pragma unroll
                for (int i = 0; i < 16; i += 4) {
                    const int eight = (k + i) / 8;
                    float of[4];
#pragma unroll
                    for (int j = 0; j < 4; j++) of[j] = value[r][i + j] * factor * gain[i + j];
                    x[(eight / 32 * 2 + i / 4 % 2) * 32 + eight % 32] =
                        float4{of[0], of[1], of[2], of[3]};
                }
            }
        }
        Whole::sync();
        mark(3);
        // x is there, so all are through with these
        if (blockIdx.x == 0 && threadIdx.x == 0) to.tops[model.count - 1] = 0;
        const Span made = share_of(QKV / 16);
        for (int row = threadIdx.x; row < 16 * made.count; row += Whole::THREADS)
            to.qkv.put(16 * made.first + row, to.qkv.own(16 * made.first + row), 0);
        if (SKIP & 16) return;
        for (int i = 0; i * HEAD_ROWS < rows.count; i++) {
            ring.wait(1);
            if (i % WARPS == warp) {
                const unsigned char *slot = memory + ring.slot * SLOT;
                for (int r = 0; r < min(HEAD_ROWS, rows.count - i * HEAD_ROWS); r++) {
                    float sums[4] = {};
#pragma unroll 4
                    for (int k = 0; k < HIDDEN / 256; k++) {
                        const Eight row = widen_eight(
                            *(const uint4 *)(slot + (r * HIDDEN + k * 256 + 8 * lane) * 2));
                        const float4 low = x[2 * k * 32 + lane], high = x[(2 * k + 1) * 32 + lane];
                        sums[0] += row.value[0] * low.x + row.value[4] * high.x;
                        sums[1] += row.value[1] * low.y + row.value[5] * high.y;
                        sums[2] += row.value[2] * low.z + row.value[6] * high.z;
                        sums[3] += row.value[3] * low.w + row.value[7] * high.w;
                    }
                    const float sum = add_lanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
                    if (lane == 0) to.logits[rows.first + i * HEAD_ROWS + r] = narrow(sum);
                }
            }
            ring.release(1);
        }
        mark(4);
    }
};

// Grid: one block a processor, all resident; WARPS + 4 warps, as registers are given to four at a time.
// token int64; logits [VOCAB].
KERNEL __launch_bounds__(32 * WARPS + 128, 1) decode_step(
    const long long *token, const Model model, const Cache cache, const Buffers to) {
    unsigned char *memory = shared_bytes(), *staged = memory + SLOTS * SLOT;
    int *partial = (int *)(staged + STAGED_BYTES);
    Shared &shared = *(Shared *)(staged + STAGED_BYTES + PARTIAL_BYTES);
    const Ring ring{shared_address(memory), shared_address(shared.full),
                    shared_address(shared.empty), 0, 0};
    if (threadIdx.x == 0) {
        for (int i = 0; i < SLOTS; i++) {
            barrier_init(ring.full + 8 * i, 1);
            barrier_init(ring.empty + 8 * i, WARPS);
        }
        barriers_visible();
    }
    for (int i = threadIdx.x; i < model.count; i += Whole::THREADS + 128) {
        shared.layers()[i] = model.layers[i];
        shared.cached(model)[i] = cache.layers[i];
    }
    block_sync();
    if (threadIdx.x >= Whole::THREADS) {
        fewer_registers<24>();
        if (threadIdx.x == Whole::THREADS) copy_step(ring, model, cache, shared);
        return;
    }
    more_registers<112>();
    Step step{model, cache, to, memory, staged, partial, shared, ring,
              Meeting{to.counters, 0},
              model.embedding + (size_t)*token * HIDDEN, 0};
    for (int i = 0; i < model.count; i++) {
        const Layer &layer = shared.layers()[i];
        step.qkv(layer, i);
        step.attention(shared.cached(model)[i], i);
        step.out(layer, i);
        step.gate_up(layer, i);
        step.down(layer, i);
    }
    step.head();
}
