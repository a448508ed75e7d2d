// Decode attention of one vector inside a step: a block is a span of the cache of a head. Cached keys and
// values come through the ring; RoPE, the new key and the new value are of this step. What a block
// leaves is joined by those who read it (join_spans). Behind planes.cuh and grid.cuh. Macros: HEADS,
// KV_HEADS, DIM.
#define QKV ((HEADS + 2 * KV_HEADS) * DIM)

#define GROUP (HEADS / KV_HEADS)
#define CACHE_ROWS (SLOT / 2 / DIM)  // keys, or values, of a slot: one for each group of lanes
#define BATCH 4                      // slots of keys, and of values, that are waited for at once
#define ROW_LANES (DIM / 8)          // lanes that hold a row, 8 elements each
#define ATTEND_BYTES (WARPS * (DIM + 2) * 4)
#define JOINED 4                     // spans whose parts are loaded at once
#define NONE (-1e30f)

// Spans of each head, their positions, and the position of the new token.
struct Spans {
    int splits, span, last;

    INSIDE bool any() const { return (int)blockIdx.x < HEADS * splits; }
    INSIDE int head() const { return blockIdx.x / splits; }
    INSIDE int split() const { return blockIdx.x % splits; }
    INSIDE bool newest() const { return split() == splits - 1; }
    INSIDE Span positions() const {
        const int first = split() * span;
        return Span{first, max(0, min(span, last - first))};
    }
};

struct Eight {
    float value[8];
};

INSIDE Eight widen_eight(const uint4 &from) {
    Eight e;
    const u32 pairs[4] = {from.x, from.y, from.z, from.w};
#pragma unroll
    for (int i = 0; i < 8; i++) e.value[i] = widen((u16)(pairs[i / 2] >> 16 * (i % 2)));
    return e;
}

INSIDE uint4 narrow_eight(const Eight &e) {
    u32 pairs[4];
#pragma unroll
    for (int i = 0; i < 4; i++)
        pairs[i] = narrow(e.value[2 * i]) | (u32)narrow(e.value[2 * i + 1]) << 16;
    return uint4{pairs[0], pairs[1], pairs[2], pairs[3]};
}

INSIDE Eight widen_tagged(const uint4 &low, const uint4 &high) {
    return Eight{widen((u16)low.x), widen((u16)low.y), widen((u16)low.z), widen((u16)low.w),
                 widen((u16)high.x), widen((u16)high.y), widen((u16)high.z), widen((u16)high.w)};
}

INSIDE uint4 untagged(const uint4 &low, const uint4 &high) {
    return uint4{__byte_perm(low.x, low.y, 0x5410), __byte_perm(low.z, low.w, 0x5410),
                 __byte_perm(high.x, high.y, 0x5410), __byte_perm(high.z, high.w, 0x5410)};
}

struct Turn {  // of a lane's 8 elements, by RoPE
    float cos[8], sin[8];  // sin with the sign of its half
};

INSIDE Turn turn_at(const float *cos, const float *sin, int d, int last) {
    Turn t;
    const int place = last * (DIM / 2) + d % (DIM / 2);
    const float sign = d < DIM / 2 ? -1.0f : 1.0f;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        t.cos[i] = __ldg(cos + place + i);
        t.sin[i] = sign * __ldg(sin + place + i);
    }
    return t;
}

// Eight elements, and those half a row away, as two times four each.
INSIDE Eight rotated(const uint4 *words, const Turn &t) {
    const Eight here = widen_tagged(words[0], words[1]), there = widen_tagged(words[2], words[3]);
    Eight r;
#pragma unroll
    for (int i = 0; i < 8; i++) r.value[i] = here.value[i] * t.cos[i] + there.value[i] * t.sin[i];
    return r;
}

INSIDE float dot_lanes(const Eight &a, const Eight &b) {  // of the lanes that hold a row
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; i++) sum += a.value[i] * b.value[i];
#pragma unroll
    for (int d = 1; d < ROW_LANES; d <<= 1) sum += __shfl_xor_sync(~0u, sum, d);
    return sum;
}

struct Attended {  // a softmax under way: largest score, denominator, sums of values
    float top, share;
    Eight sum;

    INSIDE void shrink_to(float peak) {
        const float factor = __expf(top - peak);
        share *= factor;
#pragma unroll
        for (int i = 0; i < 8; i++) sum.value[i] *= factor;
        top = peak;
    }
    INSIDE void add(float weight, const Eight &value) {
        share += weight;
#pragma unroll
        for (int i = 0; i < 8; i++) sum.value[i] += weight * value.value[i];
    }
};

// The cached positions of this block, one for each group of lanes out of every slot.
INSIDE void attend_cached(
    Attended &state, const Eight &query, const Span &positions, const unsigned char *memory,
    Ring &ring) {
    const int mine = threadIdx.x / ROW_LANES, place = 16 * threadIdx.x;
    const int slots = (positions.count + CACHE_ROWS - 1) / CACHE_ROWS;
    for (int s = 0; s < slots; s += BATCH) {
        const int here = min(BATCH, slots - s);
        ring.wait(2 * here);
        float score[BATCH], peak = state.top;
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            score[b] = NONE;
            if (b < here) {  // rows beyond the end hold what was there before, and do not count
                const float dot = dot_lanes(
                    query, widen_eight(*(const uint4 *)(memory + ring.at(2 * b) * SLOT + place)));
                if ((s + b) * CACHE_ROWS + mine < positions.count) score[b] = dot;
                peak = fmaxf(peak, score[b]);
            }
        }
        state.shrink_to(peak);
#pragma unroll
        for (int b = 0; b < BATCH; b++)
            if (b < here && (s + b) * CACHE_ROWS + mine < positions.count)
                state.add(__expf(score[b] - peak), widen_eight(*(const uint4 *)(
                    memory + ring.at(2 * b + 1) * SLOT + place)));
        ring.release(2 * here);
    }
}

// Joins what the groups of lanes and the warps found, and writes it: parts [HEADS, splits, DIM] in
// binary16, sums [HEADS, splits] of largest score and denominator.
INSIDE void write_part(Attended &state, float *scratch, u16 *parts, float2 *sums) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
#pragma unroll
    for (int d = ROW_LANES; d < 32; d <<= 1) {
        const float other = __shfl_xor_sync(~0u, state.top, d);
        state.shrink_to(fmaxf(state.top, other));
        state.share += __shfl_xor_sync(~0u, state.share, d);
#pragma unroll
        for (int i = 0; i < 8; i++)
            state.sum.value[i] += __shfl_xor_sync(~0u, state.sum.value[i], d);
    }
    float *tops = scratch + WARPS * DIM, *shares = tops + WARPS;
    if (lane < ROW_LANES) {
#pragma unroll
        for (int i = 0; i < 8; i++) scratch[warp * DIM + 8 * lane + i] = state.sum.value[i];
    }
    if (lane == 0) {
        tops[warp] = state.top;
        shares[warp] = state.share;
    }
    Whole::sync();
    if (threadIdx.x < DIM) {
        float top = tops[0], share = 0.0f, sum = 0.0f;
#pragma unroll
        for (int w = 1; w < WARPS; w++) top = fmaxf(top, tops[w]);
#pragma unroll
        for (int w = 0; w < WARPS; w++) {
            const float factor = __expf(tops[w] - top);
            share += factor * shares[w];
            sum += factor * scratch[w * DIM + threadIdx.x];
        }
        parts[blockIdx.x * DIM + threadIdx.x] = narrow(sum / share);
        if (threadIdx.x == 0) sums[blockIdx.x] = float2{top, share};
    }
}

// What all blocks made of this block's span of a head. qkv [HEADS + 2 KV_HEADS, DIM], tagged; keys and values
// [KV_HEADS, capacity, DIM], position `last` is written. mark(i), see Step.
template <class Mark> INSIDE void attend(
    const Spans &spans, const Turn &turn, const Tagged<QKV> &qkv, u32 tag, u16 *keys, u16 *values, int capacity,
    const unsigned char *memory, Ring &ring, float *scratch, u16 *parts, float2 *sums, const Mark &mark) {
    const int d = computed_here(8 * (threadIdx.x % ROW_LANES));
    const int head = spans.head(), kv = head / GROUP;
    const bool adds = threadIdx.x < 32 && spans.newest();  // the new key and value
    const auto where = [&](int i) {  // q, k: here, there; v: here
        const int row = i < 4 ? head : i < 8 ? HEADS + kv : HEADS + KV_HEADS + kv;
        return row * DIM + (i & 2 ? (d + DIM / 2) % DIM : d) + 4 * (i & 1);
    };
    uint4 words[10];
    if (adds)
        qkv.get(words, tag, where);
    else
        qkv.get(*(uint4(*)[4])words, tag, where);
    mark(2);
    Eight query = rotated(words, turn);
#pragma unroll
    for (int i = 0; i < 8; i++) query.value[i] *= rsqrtf((float)DIM);
    Attended state{NONE, 0.0f, {}};
    if (adds) {  // its groups of lanes do the same, the first counts
        const uint4 key = narrow_eight(rotated(words + 4, turn));
        const uint4 value = untagged(words[8], words[9]);
        const float score = dot_lanes(query, widen_eight(key));
        if (threadIdx.x < ROW_LANES) {
            state = Attended{score, 1.0f, widen_eight(value)};
            if (head % GROUP == 0) {
                const size_t place = ((size_t)kv * capacity + spans.last) * DIM + d;
                *(uint4 *)(keys + place) = key;
                *(uint4 *)(values + place) = value;
            }
        }
    }
    attend_cached(state, query, spans.positions(), memory, ring);
    mark(3);
    write_part(state, scratch, parts, sums);
}

// 16 elements of the attended vector, from k on, out of the spans of its head: some at once, so that their
// loads are under way together.
INSIDE void join_spans(
    float (&value)[16], const u16 *parts, const float2 *sums, int splits, int k) {
    const int first = k / DIM * splits;
    float top = NONE, share = 0.0f;
#pragma unroll
    for (int i = 0; i < 16; i++) value[i] = 0.0f;
    for (int s = 0; s < splits; s += JOINED) {
        float2 sum[JOINED];
        Sixteen part[JOINED];
#pragma unroll
        for (int j = 0; j < JOINED; j++) {
            const int from = first + min(s + j, splits - 1);
            sum[j] = __ldcg(sums + from);
            part[j] = load_written(parts + (size_t)from * DIM + k % DIM);
        }
        float peak = top;
#pragma unroll
        for (int j = 0; j < JOINED; j++) peak = fmaxf(peak, sum[j].x);
        const float shrink = __expf(top - peak);
        share *= shrink;
#pragma unroll
        for (int i = 0; i < 16; i++) value[i] *= shrink;
#pragma unroll
        for (int j = 0; j < JOINED; j++) {
            const float weight = s + j < splits ? __expf(sum[j].x - peak) * sum[j].y : 0.0f;
            share += weight;
#pragma unroll
            for (int i = 0; i < 16; i++) value[i] += weight * part[j][i];
        }
        top = peak;
    }
#pragma unroll
    for (int i = 0; i < 16; i++) value[i] = widen(narrow(__fdividef(value[i], share)));
}
