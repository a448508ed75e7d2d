// The warpgroup matrix instruction and what goes with it (PTX ISA), behind hopper.cuh and ahead of
// sign_wgmma.cu. Macros: see there.

#if BITS == 16
typedef float Sum;
#define KIND "k16.f32.f16.f16"
#define SCALES ", 1, 1, 0"
#define REGISTER "f"
#define FOUR "v4.f32"
#else
typedef int Sum;
#define KIND "k32.s32.u8.s8"
#define SCALES ""
#define REGISTER "r"
#define FOUR "v4.s32"
#endif

#define D2(i) "+" REGISTER(d[i]), "+" REGISTER(d[i + 1])
#define D4(i) D2(i), D2(i + 2)
#define D16(i) D4(i), D4(i + 4), D4(i + 8), D4(i + 12)
#define L0 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define L1 "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define L2 "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define L3 "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define L4 "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79"
#define L5 "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
#define L6 "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111"
#define L7 "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#if VECTORS == 16
#define SHAPE "m64n16"
#define SUM_LIST "%0,%1,%2,%3,%4,%5,%6,%7"
#define OPERANDS "{%8,%9,%10,%11}, %12, 1"
#define D_ALL D4(0), D4(4)
#elif VECTORS == 32
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

// Add a tile of 64 outputs times all vectors; `a` and `d` are in use until the step is waited for.
INSIDE void multiply(Sum (&d)[VECTORS / 2], const u32 (&a)[4], u64 vectors) {
    asm volatile("wgmma.mma_async.sync.aligned." SHAPE KIND " {" SUM_LIST "}, " OPERANDS SCALES ";"
                 : D_ALL
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(vectors));
}

INSIDE void steps_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

INSIDE void step_done() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Wait until at most so many steps are under way.
template <int STEPS> INSIDE void wait_steps() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(STEPS) : "memory");
}

// A constant in a register, which the compiler does not make anew for every use.
template <u32 VALUE> INSIDE u32 constant() {
    u32 value;
    asm volatile("mov.b32 %0, %1;" : "=r"(value) : "n"(VALUE));
    return value;
}

// (bits & mask) ^ 0xbc00bc00: -1.0 in binary16, twice, with its sign flipped where a bit is 1.
INSIDE u32 flip_ones(u32 bits, u32 mask) {
    u32 r;
    asm("lop3.b32 %0, %1, %2, 0xbc00bc00, 0x6a;" : "=r"(r) : "r"(bits), "r"(mask));
    return r;
}

// Compute a register here, ahead of the fence that follows.
INSIDE void settle(u32 &value) { asm volatile("" : "+r"(value)::"memory"); }

// Take a sum as it is here, behind the wait. To the compiler a sum is final where its last step is
// issued: without this it doubled int8 sums ahead of the wait, while the step was under way.
INSIDE void settle(Sum &sum) { asm volatile("" : "+" REGISTER(sum)::"memory"); }

// ---- sums and results ----

INSIDE void put_sums(u32 to, const Sum *d) {
    asm volatile("st.shared::cta." FOUR " [%0], {%1,%2,%3,%4};" ::"r"(to), REGISTER(d[0]),
                 REGISTER(d[1]), REGISTER(d[2]), REGISTER(d[3])
                 : "memory");
}

INSIDE void add_sums(Sum *d, u32 from) {
    Sum e[4];
    asm volatile("ld.shared::cluster." FOUR " {%0,%1,%2,%3}, [%4];"
                 : "=" REGISTER(e[0]), "=" REGISTER(e[1]), "=" REGISTER(e[2]), "=" REGISTER(e[3])
                 : "r"(from)
                 : "memory");
#pragma unroll
    for (int i = 0; i < 4; ++i) d[i] += e[i];
}

// Store four 8 x 8 matrices of binary16, transposed; lane 8q + c names the row of column c of the q-th.
INSIDE void store_transposed(u32 to, const u32 (&r)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared::cta.b16 [%0], {%1,%2,%3,%4};" ::"r"(to),
                 "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
                 : "memory");
}

// ---- binary16, two in a register ----

INSIDE u32 two_halves(float low, float high) {
    u32 both;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

INSIDE u32 add_halves(u32 a, u32 b) {
    u32 both;
    asm("add.rn.f16x2 %0, %1, %2;" : "=r"(both) : "r"(a), "r"(b));
    return both;
}
