/*
 * A model's library and the store beside it, on a flash in memory: what a product does with both. MODEL and UPPER are its prefix, FULL says
 * whether all of the state is kept. Ends with 0, or says what is wrong.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PASTE(a, b) a##_##b
#define JOIN(a, b) PASTE(a, b)
#define M(name) JOIN(MODEL, name)
#define C(name) JOIN(UPPER, name)
#define TEXT(a) #a
#define FILE_OF(a) TEXT(a)

#include FILE_OF(HEADER)

enum { BLOCK = 4096, BLOCKS = 9 };

static uint8_t cells[BLOCK * BLOCKS], word[8];
static M(t) model, other;
static M(keep_t) keep;

static M(keep_status) flash_read(void *context, uint32_t address, uint8_t *to, uint32_t count)
{
    (void)context;
    memcpy(to, cells + address, count);
    return C(KEEP_OK);
}

static M(keep_status) flash_program(void *context, uint32_t address, const uint8_t *from, uint32_t count)
{
    (void)context;
    memcpy(cells + address, from, count);
    return C(KEEP_OK);
}

static M(keep_status) flash_erase(void *context, uint32_t address)
{
    (void)context;
    memset(cells + address, 0xFF, BLOCK);
    return C(KEEP_OK);
}

static const M(keep_flash_t) flash = {
    .read = flash_read, .program = flash_program, .erase = flash_erase, .buffer = word, .word = 8, .block = BLOCK, .blocks = BLOCKS, .erased = 0xFF,
};

#define EXPECT(condition) \
    do { \
        if (!(condition)) { \
            printf("line %d: %s\n", __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

static M(inputs_t) drawn(void)
{
    M(inputs_t) x;

    for (size_t i = 0; i < sizeof x; i++)
        ((uint8_t *)&x)[i] = (uint8_t)rand();
    return x;
}

static void learn(M(t) *m, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const M(inputs_t) x = drawn();

        EXPECT(M(learn)(m, &x, (uint8_t)(i % C(CLASSES))) == C(OK));
    }
}

static int same(const M(t) *a, const M(t) *b)
{
    return memcmp(&a->state, &b->state, sizeof a->state) == 0;
}

/* A save in pieces: inference goes on, all that changes the state waits. */
static void in_pieces(void)
{
    const M(inputs_t) x = drawn();
    M(outputs_t) y;
    uint32_t steps = 0;
    M(keep_status) status;

    other = model;
    EXPECT(M(save_begin)(&model, &keep) == C(KEEP_OK));
    EXPECT(M(save_begin)(&model, &keep) == C(KEEP_BUSY));
    do {
        EXPECT(M(infer)(&model, &x, &y) == C(OK));
        EXPECT(M(learn)(&model, &x, 0) == C(BUSY));
        EXPECT(M(learn_begin)(&model, &x, 0) == C(BUSY));
        EXPECT(M(run)(&model, 0) == C(BUSY));
        EXPECT(M(run_begin)(&model, 0) == C(BUSY));
        EXPECT(M(run_abort)(&model) == C(BUSY));
        EXPECT(M(run_op)(&model, 0) == C(BUSY));
        EXPECT(M(check_op)(&model, 0) == C(BUSY));
        EXPECT(M(load)(&model, &x, 0) == C(BUSY));
        EXPECT(same(&model, &other));
        status = M(save_step)(&model, &keep);
        steps++;
    } while (status == C(KEEP_MORE));
    EXPECT(status == C(KEEP_OK) && steps > 3);
    EXPECT(M(save_step)(&model, &keep) == C(KEEP_BAD_ARGUMENT));
    EXPECT(M(learn)(&model, &x, 0) == C(OK));
}

/* While something else is in progress there is no save, and an abandoned one leaves what was kept. */
static void refused(void)
{
    const M(inputs_t) x = drawn();

    EXPECT(M(learn_begin)(&model, &x, 0) == C(OK));
    EXPECT(M(save)(&model, &keep) == C(KEEP_BUSY));
    EXPECT(M(run_abort)(&model) == C(OK));
    other = model;
    EXPECT(M(save)(&model, &keep) == C(KEEP_OK));
    learn(&model, 3);
    EXPECT(M(save_begin)(&model, &keep) == C(KEEP_OK));
    EXPECT(M(save_step)(&model, &keep) == C(KEEP_MORE));
    EXPECT(M(save_abort)(&model, &keep) == C(KEEP_OK));
    EXPECT(M(learn)(&model, &x, 0) == C(OK));
    EXPECT(M(save_begin)(&model, &keep) == C(KEEP_OK));
    EXPECT(M(save_step)(&model, &keep) == C(KEEP_MORE));
    EXPECT(M(init)(&model) == C(OK));
    EXPECT(M(save_step)(&model, &keep) == C(KEEP_BAD_ARGUMENT));
    EXPECT(M(restore)(&model, &keep, &flash) == C(KEEP_OK));
}

/* A save belongs to a model and ends with its state: set up anew, it may begin at once. Another one neither goes on with it nor ends it. */
static void owned(void)
{
    EXPECT(M(restore)(&model, &keep, &flash) == C(KEEP_OK));
    EXPECT(M(init)(&other) == C(OK));
    EXPECT(M(save_abort)(&model, &keep) == C(KEEP_BAD_ARGUMENT));
    EXPECT(M(save_begin)(&model, &keep) == C(KEEP_OK));
    EXPECT(M(save_begin)(&other, &keep) == C(KEEP_BUSY));
    EXPECT(M(save_step)(&other, &keep) == C(KEEP_BAD_ARGUMENT));
    EXPECT(M(save_abort)(&other, &keep) == C(KEEP_BAD_ARGUMENT));
    EXPECT(M(keep_erase)(&keep) == C(KEEP_BUSY));
    EXPECT(M(save_step)(&model, &keep) == C(KEEP_MORE));
    EXPECT(M(init)(&model) == C(OK));
    EXPECT(M(save)(&model, &keep) == C(KEEP_OK)); /* no step in between */
    learn(&model, 3);
    EXPECT(M(save)(&model, &keep) == C(KEEP_OK));
    other = model;
    EXPECT(M(restore)(&model, &keep, &flash) == C(KEEP_OK));
#if FULL
    EXPECT(same(&model, &other));
#endif
}

/* A state that no program leaves is not believed, though it was kept as it was; nor is one of another Plan. */
static void doubted(void)
{
    static uint8_t whole[sizeof cells];
    static M(t) first, kept[2];
    uint32_t found[2] = { 0, 0 };

    EXPECT(M(init)(&first) == C(OK));
    for (uint32_t i = 0; M(tensor)(i) != NULL; i++) {
        const M(tensor_t) *const t = M(tensor)(i);

        if (t->size == 2 && t->columns < t->row) { /* padding that is not zero */
            memset((uint8_t *)&model.state + t->offset + 2u * t->columns, 1, 2);
            break;
        }
    }
    if (M(check)(&model.state) == C(BAD_STATE)) {
        EXPECT(M(save)(&model, &keep) == C(KEEP_OK));
        EXPECT(M(restore)(&model, &keep, &flash) == C(KEEP_CORRUPT));
        EXPECT(same(&model, &first));
    }
    EXPECT(M(keep_erase)(&keep) == C(KEEP_OK));
    EXPECT(M(restore)(&model, &keep, &flash) == C(KEEP_EMPTY));
    for (uint32_t i = 0; i < 2; i++) { /* an old state and a new one, as a reset leaves them */
        learn(&model, 2);
        EXPECT(M(save)(&model, &keep) == C(KEEP_OK));
        EXPECT(M(restore)(&kept[i], &keep, &flash) == C(KEEP_OK));
    }
    EXPECT(!same(&kept[0], &kept[1]));
    memcpy(whole, cells, sizeof cells);
    for (uint32_t at = 0; at < sizeof cells; at++) { /* every byte that is kept matters: damaged, it is never loaded */
        if (whole[at] != 0xFF && at % 7u == 0) {
            cells[at] ^= 4u;
            const M(keep_status) status = M(restore)(&other, &keep, &flash);
            if (status == C(KEEP_OK))
                found[same(&other, &kept[1])]++;
            EXPECT(status != C(KEEP_OK) || same(&other, &kept[0]) || same(&other, &kept[1]));
            EXPECT(status == C(KEEP_OK) || same(&other, &first));
            memcpy(cells, whole, sizeof cells);
        }
    }
    EXPECT(found[0] > 0 && found[1] > 0);
    EXPECT(M(restore)(&model, &keep, &flash) == C(KEEP_OK) && same(&model, &kept[1]));
}

int main(void)
{
    srand(1);
    memset(cells, 0xFF, sizeof cells);
    EXPECT(M(restore)(&model, &keep, &flash) == C(KEEP_EMPTY));
    EXPECT(M(init)(&other) == C(OK) && same(&model, &other));
    learn(&model, 40);
    in_pieces();
    EXPECT(M(restore)(&model, &keep, &flash) == C(KEEP_OK));
    EXPECT(M(check)(&model.state) == C(OK));
#if FULL
    EXPECT(same(&model, &other));
#endif
    for (uint32_t i = 0; i < C(PROGRAMS); i++) /* what was kept is a state to go on from */
        EXPECT(M(run)(&model, i) == C(OK) && M(check)(&model.state) == C(OK));
#if FULL
    EXPECT(M(restore)(&model, &keep, &flash) == C(KEEP_OK));
    memset(&model.arena, 0, sizeof model.arena);
    memset(&other.arena, 0, sizeof other.arena);
    for (uint32_t i = 0; i < C(PROGRAMS); i++) /* and goes on as if there had been no reset: a guard's roll-back, too */
        EXPECT(M(run)(&model, i) == C(OK) && M(run)(&other, i) == C(OK) && same(&model, &other));
#endif
    refused();
    owned();
    doubted();
    EXPECT(M(keep_erase)(&keep) == C(KEEP_OK));
    EXPECT(M(restore)(&model, &keep, &flash) == C(KEEP_EMPTY));
    return 0;
}
