/*
 * A model's state in a store that is there already. The power goes at every operation of a save and of forgetting, or the operation fails and passes:
 * what is found then is the old state or the new one, the same at each boot. -DMODEL, -DUPPER, -DSTORE_..., -DHEADER: the adapter's.
 */
#define JOINED(a, b) a##_##b
#define NAMED(a, b) JOINED(a, b)
#define M(name) NAMED(MODEL, name)
#define C(name) NAMED(UPPER, name)
#define QUOTED(a) #a
#define TEXT(a) QUOTED(a)
#include TEXT(HEADER)

#ifdef STORE_littlefs
#include "filestore.h"
#else
#include "itemstores.h"
#endif

static M(t) model, found, first;
static M(keep_in_t) in;
static unsigned long olds, news, tried;

static int same(const M(t) *a, const M(t) *b)
{
    uint32_t i, count;
    const M(keep_span_t) *const spans = M(keep_in_spans)(&count);

    for (i = 0; i < count; i++)
        if (memcmp((const uint8_t *)&a->state + spans[i].offset, (const uint8_t *)&b->state + spans[i].offset, spans[i].bytes) != 0)
            return 0;
    return 1;
}

static void learn(M(t) *m, uint32_t count)
{
    uint32_t i;

    for (i = 0; i < count; i++) {
        M(inputs_t) x;
        size_t j;

        for (j = 0; j < sizeof x; j++)
            ((uint8_t *)&x)[j] = (uint8_t)rand();
        EXPECT(M(learn)(m, &x, (uint8_t)(i % C(CLASSES))) == C(OK));
    }
}

static void boot(void)
{
    world_cut(0, BEFORE, 0);
    in = world_mount();
}

static M(keep_status) kept(M(t) *m)
{
    boot();
    return M(restore_from)(m, &in);
}

/* Whether what was found is a state; of the one as compiled: that nothing was. */
static int is(M(keep_status) status, const M(t) *a)
{
    return status == (a == &first ? C(KEEP_EMPTY) : C(KEEP_OK)) && same(&found, a);
}

/* What is found is one of two states, twice; whether it is the second. */
static int settled(const M(t) *a, const M(t) *b)
{
    const M(keep_status) status = kept(&found);
    const int now = is(status, b);

    EXPECT(now || is(status, a));
    EXPECT(is(kept(&found), now ? b : a));
    return now;
}

static unsigned long operations_of(M(keep_status) (*what)(void))
{
    boot();
    EXPECT(what() == C(KEEP_OK));
    return world.operations;
}

static M(keep_status) a_save(void)
{
    return M(save_to)(&model, &in);
}

static M(keep_status) a_forget(void)
{
    return M(forget_in)(&in);
}

/* One save that is cut, then another one that is cut, then one that is not. */
static void cut_saves(const M(t) *a, const M(t) *b, const M(t) *c, int passes)
{
    unsigned long all, at, nested;
    int how;

    model = *b;
    world_store();
    all = operations_of(a_save);
    EXPECT(all >= 2);
    for (at = 1; at <= all; at++) {
        for (how = BEFORE; how <= AFTER; how++) {
            if (how == HALF && WHOLE && !passes)
                continue;
            for (nested = 1; nested <= all + 4; nested += (passes ? 1 : 3)) {
                const M(t) *left, *late = NULL;
                M(keep_status) status, again;

                world_back();
                boot();
                world_cut(at, how, passes);
                model = *b;
                status = M(save_to)(&model, &in);
                EXPECT(passes || status != C(KEEP_OK));
                EXPECT(M(pin)(&model) == C(OK)); /* the model is free again */
                EXPECT(M(unpin)(&model) == C(OK));
                if (!passes || !WHOLE) { /* littlefs is mounted anew behind an error, too */
                    left = settled(a, b) ? b : a;
                    EXPECT(status != C(KEEP_WORN) && (status != C(KEEP_OK) || left == b));
                } else { /* in the same boot: nothing was mounted anew, and the store answers again */
                    world_cut(0, BEFORE, 0);
                    again = M(restore_from)(&found, &in);
                    left = is(again, b) ? b : a;
                    EXPECT(is(again, left) && (status != C(KEEP_OK) || left == b));
                    if (nested == 1) { /* forgotten at once, nothing shows later */
                        world_cut(0, BEFORE, 0);
                        EXPECT(M(forget_in)(&in) == C(KEEP_OK) && world_held() == 0);
                        EXPECT(kept(&found) == C(KEEP_EMPTY) && world_held() == 0);
                        continue;
                    }
                    late = how == HALF && at == all ? b : NULL; /* of a save that failed the end may show later */
                }
                olds += left == a;
                news += left == b;
                tried++;
                world_cut(nested, (int)(nested + at) % 3 == 1 && WHOLE ? AFTER : (int)(nested + at) % 3, 0);
                model = *c;
                status = M(save_to)(&model, &in);
                if (nested % 4 == 2) { /* forgotten behind both: nothing is left, whatever they left */
                    boot();
                    EXPECT(M(forget_in)(&in) == C(KEEP_OK) && world_held() == 0);
                    EXPECT(kept(&found) == C(KEEP_EMPTY) && world_held() == 0);
                    continue;
                }
                if (late != NULL && kept(&found) == C(KEEP_OK) && same(&found, late))
                    left = late;
                EXPECT(settled(left, c) || status != C(KEEP_OK));
                EXPECT(M(save_to)(&model, &in) == C(KEEP_OK));
                EXPECT(kept(&found) == C(KEEP_OK) && same(&found, c));
            }
        }
    }
    world_back();
    boot();
}

static void cut_forgetting(const M(t) *a)
{
    unsigned long all, at;
    int how, kinds[2] = { 0, 0 };

    world_store();
    all = operations_of(a_forget);
    EXPECT(world_held() == 0);
    for (at = 1; at <= all; at++) {
        for (how = BEFORE; how <= AFTER; how++) {
            M(keep_status) status;

            world_back();
            boot();
            world_cut(at, how, 0);
            EXPECT(M(forget_in)(&in) != C(KEEP_OK));
            status = kept(&found);
            EXPECT(status == C(KEEP_EMPTY) || (status == C(KEEP_OK) && same(&found, a)));
            EXPECT(status != C(KEEP_EMPTY) || same(&found, &first));
            kinds[status == C(KEEP_OK)]++;
            EXPECT(M(forget_in)(&in) == C(KEEP_OK) && world_held() == 0);
            EXPECT(kept(&found) == C(KEEP_EMPTY) && M(forget_in)(&in) == C(KEEP_OK));
        }
    }
    EXPECT(kinds[0] > 0 && kinds[1] > 0);
    world_back();
    boot();
}

/* A byte that changed behind the store's back: the state is not loaded, or it is right. */
static void damage(const M(t) *a, const M(t) *b)
{
    unsigned long refused = 0;
    size_t place;

    world_store();
    for (place = 0; place < world_places(); place++) {
        M(keep_status) status;

        if (world_byte(place) == NULL)
            continue;
        world_back();
        boot();
        *world_byte(place) ^= 0x10;
        in = world_mount(); /* littlefs finds its own two copies of what it needs to mount */
        status = M(restore_from)(&found, &in);
        EXPECT(same(&found, status == C(KEEP_OK) ? a : &first));
        refused += status != C(KEEP_OK);
        if (WHOLE) { /* and what is damaged does not stand in the way of a save */
            model = *b;
            EXPECT(M(save_to)(&model, &in) == C(KEEP_OK) && kept(&found) == C(KEEP_OK) && same(&found, b));
        }
    }
    EXPECT(refused > 50);
    world_back();
    boot();
}

static void put(const uint8_t *state, uint32_t changed)
{
    uint8_t head[C(KEEP_IN_HEAD)], bytes[C(KEEP_IN_BYTES)];
    uint32_t i, at = 0, count;
    const M(keep_span_t) *const spans = M(keep_in_spans)(&count);

    for (i = 0; i < count; i++) {
        memcpy(&bytes[at], &state[spans[i].offset], spans[i].bytes);
        at += spans[i].bytes;
    }
    M(keep_in_head)(head, M(keep_in_crc)(0, bytes, at));
    if (changed > 0) {
        head[changed] ^= 1;
        M(keep_in_put32)(&head[56], M(keep_in_crc)(0, head, 56));
    }
    EXPECT(in.create(in.context) == C(KEEP_OK) && in.write(in.context, bytes, at) == C(KEEP_OK));
    EXPECT(in.commit(in.context, head) == C(KEEP_OK));
}

/* Whole, but of another Plan, version, or choice of tensors; or a state that no program leaves. */
static void others(const M(t) *a)
{
    static const uint32_t fields[] = { 4, 12, 16, 20, 24, 55 };
    static M(t) bad;
    size_t i;

    for (i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        put((const uint8_t *)&a->state, fields[i]);
        EXPECT(kept(&found) == C(KEEP_OTHER) && same(&found, &first));
    }
    memset(&bad, 0x80, sizeof bad);
    EXPECT(M(check)(&bad.state) == C(BAD_STATE));
    put((const uint8_t *)&bad.state, 0);
    EXPECT(kept(&found) == C(KEEP_CORRUPT) && same(&found, &first));
    model = *a;
    EXPECT(M(save_to)(&model, &in) == C(KEEP_OK));
    EXPECT(kept(&found) == C(KEEP_OK) && same(&found, a));
}

static void busy_and_full(const M(t) *a, const M(t) *b)
{
    M(inputs_t) x;

    memset(&x, 1, sizeof x);
    model = *b;
    EXPECT(M(learn_begin)(&model, &x, 0) == C(OK));
    EXPECT(M(save_to)(&model, &in) == C(KEEP_BUSY));
    EXPECT(M(run_abort)(&model) == C(OK));
    boot();
    EXPECT(M(forget_in)(&in) == C(KEEP_OK));
#if defined(STORE_zms) || defined(STORE_zephyr_nvs)
    in = world_low_room(); /* not enough identifiers for all items */
    model = *a;
    EXPECT(M(save_to)(&model, &in) == C(KEEP_BAD_ARGUMENT) && M(restore_from)(&found, &in) == C(KEEP_EMPTY));
    EXPECT(M(forget_in)(&in) == C(KEEP_OK) && world_held() == 0);
    boot();
#endif
    model = *a;
    EXPECT(M(save_to)(&model, &in) == C(KEEP_OK));
    world_fill(1);
    model = *b;
    EXPECT(M(save_to)(&model, &in) == ANSWER_FULL);
    EXPECT(kept(&found) == C(KEEP_OK) && same(&found, a));
    world_fill(0);
    model = *b;
    EXPECT(M(save_to)(&model, &in) == C(KEEP_OK));
    EXPECT(kept(&found) == C(KEEP_OK) && same(&found, b));
}

#ifdef STORE_blind
/* What cannot be read seems not to be there: once that costs nothing, twice it is told, and what was kept stays. */
static void unread(const M(t) *a, const M(t) *b)
{
    unsigned long at;

    boot();
    model = *a;
    EXPECT(M(save_to)(&model, &in) == C(KEEP_OK) && kept(&found) == C(KEEP_OK) && same(&found, a));
    model = *b;
    world_blind = 1;
    EXPECT(M(save_to)(&model, &in) == C(KEEP_OK) && kept(&found) == C(KEEP_OK) && same(&found, b));
    model = *a;
    for (at = 1; at < 4; at++) {
        world_cut(at, BEFORE, 0);
        world_blind = 2;
        EXPECT(M(save_to)(&model, &in) == C(KEEP_IO) && kept(&found) == C(KEEP_OK) && same(&found, b));
    }
    world_blind = 2;
    EXPECT(M(restore_from)(&found, &in) == C(KEEP_IO) && same(&found, &first));
    boot();
    world_blind = 2;
    EXPECT(M(forget_in)(&in) == C(KEEP_OK) && world_held() == 0 && kept(&found) == C(KEEP_EMPTY));
}
#endif

/* Returns when all is well, and ends the program else. */
int adapters(void);
int adapters(void)
{
    static M(t) a, b, c;

    srand(1);
    world_erase();
    EXPECT(M(init)(&first) == C(OK));
    EXPECT(kept(&model) == C(KEEP_EMPTY) && same(&model, &first));
    model = first;
    learn(&model, 20);
    a = model;
    learn(&model, 3);
    b = model;
    learn(&model, 3);
    c = model;
    EXPECT(!same(&a, &b) && !same(&b, &c) && !same(&a, &first));
    cut_saves(&first, &a, &b, 0);
    cut_saves(&first, &a, &b, 1);
    model = a;
    EXPECT(M(save_to)(&model, &in) == C(KEEP_OK));
    EXPECT(kept(&found) == C(KEEP_OK) && same(&found, &a) && M(check)(&found.state) == C(OK));
    model = c;
    EXPECT(M(save_to)(&model, &in) == C(KEEP_OK));
    model = a;
    EXPECT(M(save_to)(&model, &in) == C(KEEP_OK));
    cut_saves(&a, &b, &c, 0); /* c: what the other bank holds from before */
    EXPECT(olds > 0 && news > 0);
    cut_saves(&a, &b, &c, 1);
    cut_forgetting(&a);
    others(&a);
    damage(&a, &b);
    busy_and_full(&a, &b);
#ifdef STORE_blind
    unread(&a, &b);
    model = b;
    boot();
    EXPECT(M(save_to)(&model, &in) == C(KEEP_OK));
#endif
    world_cut(0, BEFORE, 0);
    world.dead = 1;
    EXPECT(M(save_to)(&model, &in) != C(KEEP_OK) && M(restore_from)(&found, &in) != C(KEEP_OK) && same(&found, &first));
    printf("%lu cuts: %lu old, %lu new\n", tried, olds, news);
    (void)fflush(stdout); /* in front of what a program says that has this in a library */
    return 0;
}

#if !defined(STORE_littlefs) || defined(ALONE)
int main(void)
{
    return adapters();
}
#endif
