/*
 * firmware/keep.c on a simulated flash whose power is cut at every operation, as mcuboot's simulator does: before a word is programmed or a
 * block erased, in the middle, and after.
 *
 * What is interrupted leaves loose bits, which read as they like until the word or block is erased: each time otherwise, or as if done
 * in one boot and as if never begun in the next, or the other way round. Programming a word that is not erased, and has not been since, ends
 * the program: no driver could promise what it holds then.
 *
 * Arguments: word, block, blocks, erased byte, 1 for a flash with ECC, a file with what is kept, the seed, every n-th operation only. Writes counts as JSON.
 */
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc32.h"
#include "keep.h"

enum { BEFORE, MIDDLE, AFTER, WAYS, NEVER = 0x7fffffff };
enum { RANDOM, DONE_FIRST, UNDONE_FIRST, MOODS };

static struct {
    uint8_t *cells, *loose; /* a bit that is 1 is erased; loose bits read as they like */
    uint32_t bytes;
    bool ecc;
    uint32_t bad; /* block that cannot be erased, or NEVER */
    bool stuck;   /* it can, but its words do not take what they should */
    uint32_t *worn; /* erases by block */

    uint32_t at; /* operations so far */
    uint32_t cut, way, mood;
    bool failing; /* the operation fails with IO, and the power stays */
    uint32_t boot; /* boots since the cut */
    uint32_t reads;
} flash;

static jmp_buf off;
static uint64_t state_of_dice;
static uint8_t invert;

static uint32_t dice(void)
{
    state_of_dice = state_of_dice * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state_of_dice >> 33);
}

static void wrong(const char *what)
{
    printf("wrong: %s (operation %u, way %u, mood %u)\n", what, flash.cut, flash.way, flash.mood);
    exit(1);
}

/* ---- the driver ------------------------------------------------------------------------------------------------- */

static keep_flash_t driver;

/* Whether the operation happens, is cut in the middle (true: then the power goes), or is refused. */
enum { HAPPENS, HALF, REFUSED };

static int begin(void)
{
    const uint32_t number = flash.at++;

    if (number != flash.cut)
        return HAPPENS;
    if (flash.failing)
        return REFUSED;
    if (flash.way == BEFORE)
        longjmp(off, 1);
    return flash.way == MIDDLE ? HALF : HAPPENS;
}

static void end(void)
{
    if (flash.at - 1u == flash.cut && !flash.failing)
        longjmp(off, 1);
}

static keep_status flash_read(void *context, uint32_t address, uint8_t *to, uint32_t count)
{
    bool loose = false;

    (void)context;
    flash.reads++;
    if (address + count > flash.bytes)
        wrong("read beyond the end");
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t mask = flash.loose[address + i];
        uint8_t value = flash.cells[address + i];

        if (mask != 0) {
            const bool done = (flash.mood == DONE_FIRST) == (flash.boot % 2u == 0u);
            const uint8_t seen = flash.mood == RANDOM ? (uint8_t)dice() : done ? 0x00u : 0xFFu;

            value = (uint8_t)((value & ~mask) | (seen & mask));
            loose = true;
        }
        to[i] = value ^ invert;
    }
    return loose && flash.ecc && dice() % 2u == 0u ? KEEP_CORRUPT : KEEP_OK;
}

static keep_status flash_program(void *context, uint32_t address, const uint8_t *from, uint32_t count)
{
    (void)context;
    if (count == 0 || address % driver.word != 0 || count % driver.word != 0 || address + count > flash.bytes)
        wrong("programmed what is no word");
    for (uint32_t word = address; word < address + count; word += driver.word) {
        const int fate = begin();

        if (fate == REFUSED)
            return KEEP_IO;
        for (uint32_t i = word; i < word + driver.word; i++) {
            const uint8_t target = from[i - address] ^ invert;

            if (flash.cells[i] != 0xFFu || flash.loose[i] != 0)
                wrong("programmed a word that is not erased");
            if (fate == HALF) {
                const uint8_t done = flash.mood == RANDOM ? (uint8_t)dice() : 0u;
                const uint8_t left = flash.mood == RANDOM ? (uint8_t)dice() : 0u;

                flash.cells[i] = (uint8_t)(target | (uint8_t)~done);
                flash.loose[i] = (uint8_t)(~target & ~done & ~left);
            } else if (!(flash.stuck && i / driver.block == flash.bad)) {
                flash.cells[i] = target;
            }
        }
        end();
    }
    return KEEP_OK;
}

static keep_status flash_erase(void *context, uint32_t address)
{
    int fate;

    (void)context;
    if (address % driver.block != 0 || address >= flash.bytes)
        wrong("erased what is no block");
    flash.worn[address / driver.block]++;
    fate = begin();
    if (fate == REFUSED)
        return KEEP_IO;
    if (address / driver.block == flash.bad && !flash.stuck)
        return KEEP_CORRUPT;
    for (uint32_t i = address; i < address + driver.block; i++) {
        if (fate == HALF) {
            const uint8_t done = flash.mood == RANDOM ? (uint8_t)dice() : 0u;
            const uint8_t left = flash.mood == RANDOM ? (uint8_t)dice() : 0u;
            const uint8_t set = (uint8_t)(~flash.cells[i] | flash.loose[i]); /* what is to be erased */

            flash.cells[i] = (uint8_t)(flash.cells[i] | (set & done));
            flash.loose[i] = (uint8_t)((flash.loose[i] | (set & ~left)) & ~done);
        } else {
            flash.cells[i] = 0xFFu;
            flash.loose[i] = 0;
        }
    }
    end();
    return KEEP_OK;
}

/* ---- what is kept, and snapshots -------------------------------------------------------------------------------- */

#define STATES 4u
static keep_content_t content;
static keep_span_t *spans;
static uint8_t *states[STATES], *memory;
static uint32_t state_bytes;
static uint8_t word[256];

typedef struct {
    uint8_t *cells, *loose;
    keep_t keep;
} snapshot_t;

static keep_t keep;

static void take(snapshot_t *to)
{
    if (to->cells == NULL) {
        to->cells = malloc(flash.bytes);
        to->loose = malloc(flash.bytes);
    }
    memcpy(to->cells, flash.cells, flash.bytes);
    memcpy(to->loose, flash.loose, flash.bytes);
    to->keep = keep;
}

static void back(const snapshot_t *to)
{
    memcpy(flash.cells, to->cells, flash.bytes);
    memcpy(flash.loose, to->loose, flash.bytes);
    keep = to->keep;
}

static struct {
    uint32_t operations, cuts, nested, chained, failures, old, fresh, mounts, settled;
    uint32_t most_reads, reads_allowed;
} counts;

static uint32_t ceiling(uint32_t a, uint32_t b)
{
    return (a + b - 1u) / b;
}

/* Of a mount after any cuts: two looks at all headers, and the content five times where a slot is copied. */
static uint32_t reads_allowed(void)
{
    const uint32_t unit = driver.word < 4u ? 4u : driver.word;
    const uint32_t slot = ceiling(64, unit) * unit + 3u * unit + ceiling(content.tag.bytes, unit) * unit;
    const uint32_t slots = slot > driver.block ? 1u : driver.block / slot;

    return 2u * driver.blocks * (3u * slots + 1u) + 5u * ceiling(content.tag.bytes, unit) + 12u;
}

static keep_status boot(void)
{
    keep_status status;

    memset(&keep, 0xCC, sizeof keep);
    memset(word, 0xCC, sizeof word);
    flash.reads = 0;
    status = keep_mount(&keep, &driver, &content);
    counts.mounts++;
    counts.most_reads = flash.reads > counts.most_reads ? flash.reads : counts.most_reads;
    if (flash.reads > counts.reads_allowed)
        wrong("a mount read more than stated");
    return status;
}

/* Which state is kept: its number, STATES where there is none. */
static uint32_t kept(keep_status mounted)
{
    if (mounted == KEEP_EMPTY)
        return STATES;
    if (mounted != KEEP_OK)
        wrong("mount refuses what is there");
    memset(memory, 0x5A, state_bytes);
    if (keep_load(&keep, NULL) != KEEP_OK || keep_load(&keep, memory) != KEEP_OK)
        wrong("load refuses what was mounted");
    for (uint32_t i = 0; i < STATES; i++) {
        bool same = true;

        for (uint32_t s = 0; s < content.count && same; s++)
            same = memcmp(memory + spans[s].offset, states[i] + spans[s].offset, spans[s].bytes) == 0;
        if (same)
            return i;
    }
    wrong("neither the old state nor the new one");
    return 0;
}

static keep_status save(uint32_t number)
{
    keep_status status = keep_save_begin(&keep, states[number]);

    if (status == KEEP_OK)
        do
            status = keep_save_step(&keep);
        while (status == KEEP_MORE);
    return status;
}

/* ---- cuts ------------------------------------------------------------------------------------------------------- */

typedef keep_status (*action_t)(uint32_t number);

static keep_status mount_again(uint32_t number)
{
    (void)number;
    return boot();
}

static keep_status forget(uint32_t number)
{
    (void)number;
    return keep_erase(&keep);
}

/* Runs the action with the power cut; whether it was. */
static bool interrupted(action_t action, uint32_t number, uint32_t cut, uint32_t way, uint32_t mood)
{
    flash.at = 0;
    flash.cut = cut;
    flash.way = way;
    flash.mood = mood;
    flash.boot = 0;
    if (setjmp(off) == 0) {
        (void)action(number);
        flash.cut = NEVER;
        return false;
    }
    flash.cut = NEVER;
    return true;
}

static uint32_t old, new;

/* Old or new, in this boot and the next ones, and then a save as if nothing had been. */
static void stays(void)
{
    const uint32_t first = kept(boot());

    if (first != old && first != new)
        wrong("another state than the old and the new one");
    counts.old += first == old;
    counts.fresh += first != old;
    for (uint32_t i = 0; i < 2; i++) {
        flash.boot++;
        if (kept(boot()) != first)
            wrong("the next boot finds another state");
    }
    if (save(3) != KEEP_OK)
        wrong("a save after the cut fails");
    flash.boot++;
    if (kept(boot()) != 3)
        wrong("the save after the cut is not found");
}

/* Whether an operation of a save, or of a copy, is one of many alike. */
static bool is_payload(uint32_t cut, uint32_t operations)
{
    return cut > 3u && cut + 64u / driver.word + 12u < operations;
}

/* The power comes back, and goes again while the mount puts things right. */
static void again(const snapshot_t *after)
{
    const uint32_t mood = flash.mood;
    const uint64_t same_dice = state_of_dice;
    uint32_t operations;

    back(after);
    flash.boot = 0;
    flash.at = 0;
    (void)boot();
    operations = flash.at;
    counts.settled += operations > 0;
    for (uint32_t cut = 0; cut < operations; cut += is_payload(cut, operations) ? 97u : 1u) {
        for (uint32_t way = 0; way < WAYS; way++) {
            back(after);
            state_of_dice = same_dice; /* what is loose reads as it did, up to the cut */
            if (!interrupted(mount_again, 0, cut, way, mood))
                wrong("the second cut did not come");
            counts.nested++;
            flash.boot = 1;
            stays();
        }
    }
}

/* Cuts an action that makes `new` of `old` at each of its operations. */
static void cut_all(const snapshot_t *before, action_t action, uint32_t every)
{
    static snapshot_t after;
    uint32_t operations;

    back(before);
    (void)interrupted(action, new, NEVER, AFTER, RANDOM);
    operations = flash.at;
    counts.operations += operations;
    for (uint32_t cut = 0; cut < operations; cut++) {
        const bool payload = is_payload(cut, operations);

        if (payload && cut % every != 0)
            continue;
        for (uint32_t way = 0; way < WAYS; way++) {
            for (uint32_t mood = 0; mood < (way == MIDDLE ? MOODS : 1u); mood++) {
                back(before);
                if (!interrupted(action, new, cut, way, mood))
                    wrong("the cut did not come");
                counts.cuts++;
                flash.boot = 1;
                take(&after);
                stays();
                if (!payload)
                    again(&after);
            }
        }
    }
}

/* The same with operations that fail and no cut. */
static void fail_all(const snapshot_t *before, uint32_t every)
{
    uint32_t operations;

    back(before);
    (void)interrupted(save, new, NEVER, AFTER, RANDOM);
    operations = flash.at;
    for (uint32_t cut = 0; cut < operations; cut += is_payload(cut, operations) ? every : 1u) {
        uint32_t found;

        back(before);
        flash.at = 0;
        flash.cut = cut;
        flash.failing = true;
        if (save(new) != KEEP_IO)
            wrong("a failure is not told");
        flash.failing = false;
        flash.cut = NEVER;
        counts.failures++;
        found = kept(keep_load(&keep, NULL));
        if (found != old && found != new)
            wrong("another state after a failure");
        if (save(3) != KEEP_OK || kept(KEEP_OK) != 3 || kept(boot()) != 3)
            wrong("a save after the failure is not kept");
    }
}

/*
 * Cuts in a row: of a save, then of the mounts that put things right, each somewhere, most of them where it matters. The loose bits change
 * their mood in between.
 */
static void chains(const snapshot_t *before, uint32_t count)
{
    static snapshot_t now;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t left = 2u + dice() % 5u;
        action_t action = save;

        back(before);
        for (; left > 0; left--) {
            const uint32_t mood = dice() % MOODS;
            uint64_t same_dice;
            uint32_t operations, near;

            take(&now);
            same_dice = state_of_dice;
            (void)interrupted(action, new, NEVER, AFTER, mood);
            operations = flash.at;
            if (operations == 0)
                break;
            back(&now);
            near = dice() % 3u != 0 && operations > 24u ? operations - 24u : 0;
            near += dice() % (operations - near);
            state_of_dice = same_dice;
            if (!interrupted(action, new, near, (uint32_t)(i % WAYS == 0 ? AFTER : MIDDLE), mood))
                wrong("a cut of a chain did not come");
            counts.chained++;
            action = mount_again;
            flash.boot++;
        }
        flash.mood = dice() % MOODS;
        flash.boot = dice() % 2u;
        stays();
    }
}

/* ---- wear ------------------------------------------------------------------------------------------------------- */

static void saved(uint32_t number)
{
    if (save(number) != KEEP_OK || kept(KEEP_OK) != number)
        wrong("a save on a flash with a bad block");
}

static void bad_blocks(const snapshot_t *blank, uint32_t needed)
{
    for (flash.bad = 0; flash.bad < driver.blocks; flash.bad++) {
        for (uint32_t stuck = 0; stuck < 2; stuck++) {
            uint32_t number = 0, last = STATES, failed = 0;

            flash.stuck = stuck != 0;
            back(blank);
            (void)boot();
            for (; number < 3u * driver.blocks; number++) {
                const keep_status status = save(number % 2u);

                if (status == KEEP_OK)
                    last = number % 2u;
                else if (status == KEEP_WORN)
                    failed++;
                else
                    wrong("a bad block is no error of the save");
                if (number % 3u == 0 && kept(boot()) != last)
                    wrong("a bad block costs what was kept");
            }
            if (failed > 0 && driver.blocks > 4u * needed)
                wrong("no save, though there is room beside the bad block");
        }
    }
    flash.bad = NEVER;
    flash.stuck = false;
}

/* Erases of the most and the least worn block after many saves. */
static void wear(const snapshot_t *blank, uint32_t *least, uint32_t *most, uint32_t *saves)
{
    back(blank);
    (void)boot();
    memset(flash.worn, 0, driver.blocks * sizeof *flash.worn);
    for (*saves = 0; *saves < 20u * driver.blocks; (*saves)++)
        saved(*saves % STATES);
    *least = *most = flash.worn[0];
    for (uint32_t i = 1; i < driver.blocks; i++) {
        *least = flash.worn[i] < *least ? flash.worn[i] : *least;
        *most = flash.worn[i] > *most ? flash.worn[i] : *most;
    }
    driver.cycles = *most;
    (void)boot();
    for (uint32_t i = 0; save(0) != KEEP_WORN; i++)
        if (i > driver.blocks * (driver.block / 64u))
            wrong("the wear limit is never reached");
    if (kept(boot()) != 0 && kept(KEEP_OK) != (*saves - 1u) % STATES)
        wrong("at the wear limit what was kept is gone");
    driver.cycles = 0;
}

/* ---- main ------------------------------------------------------------------------------------------------------- */

static void get(FILE *file, void *to, uint32_t count)
{
    if (fread(to, 1, count, file) != count)
        exit(2);
}

/* Number of spans, bytes of the state; the spans; STATES states; a digest. */
static void load_content(const char *path)
{
    FILE *const file = fopen(path, "rb");
    static uint32_t head[2];

    if (file == NULL)
        exit(2);
    get(file, head, sizeof head);
    content.count = head[0];
    state_bytes = head[1];
    spans = calloc(content.count, sizeof *spans);
    for (uint32_t i = 0; i < content.count; i++)
        get(file, &spans[i], 2u * (uint32_t)sizeof spans[i].offset);
    for (uint32_t i = 0; i < STATES; i++) {
        states[i] = malloc(state_bytes);
        get(file, states[i], state_bytes);
    }
    get(file, content.tag.digest, KEEP_DIGEST_BYTES);
    content.spans = spans;
    for (uint32_t i = 0; i < content.count; i++)
        content.tag.bytes += spans[i].bytes;
    content.tag.layout = crc32_add(0, (const uint8_t *)spans, content.count * (uint32_t)sizeof *spans);
    content.tag.numeric_version = 1;
    memory = malloc(state_bytes);
    fclose(file);
}

int main(int argc, char **argv)
{
    static snapshot_t blank, one, full, cold;
    uint32_t needed, least, most, saves, every;

    if (argc != 9)
        return 2;
    driver.read = flash_read;
    driver.program = flash_program;
    driver.erase = flash_erase;
    driver.buffer = word;
    driver.word = (uint32_t)atoi(argv[1]);
    driver.block = (uint32_t)atoi(argv[2]);
    driver.blocks = (uint32_t)atoi(argv[3]);
    driver.erased = (uint8_t)atoi(argv[4]);
    flash.ecc = atoi(argv[5]) != 0;
    load_content(argv[6]);
    state_of_dice = (uint64_t)atoi(argv[7]);
    every = (uint32_t)atoi(argv[8]);

    invert = (uint8_t)(driver.erased ^ 0xFFu);
    flash.bytes = driver.block * driver.blocks;
    flash.cells = malloc(flash.bytes);
    flash.loose = calloc(flash.bytes, 1);
    flash.worn = calloc(driver.blocks, sizeof *flash.worn);
    flash.cut = flash.bad = NEVER;
    memset(flash.cells, 0xFF, flash.bytes);
    counts.reads_allowed = reads_allowed();
    if (boot() != KEEP_EMPTY)
        wrong("a blank flash is not empty");
    needed = ceiling(ceiling(64, driver.word) * driver.word + 3u * driver.word + content.tag.bytes, driver.block);
    take(&blank);
    saved(0);
    take(&one);
    for (uint32_t i = 0; i < 4u * driver.blocks; i++)
        saved(i % 2u);
    saved(0);
    take(&full);
    if (kept(boot()) != 0)
        wrong("what was saved is not found");
    take(&cold); /* the first save behind a boot takes new blocks */

    new = 1;
    old = STATES;
    cut_all(&blank, save, every);
    old = 0;
    cut_all(&one, save, every);
    cut_all(&full, save, every);
    cut_all(&cold, save, every);
    chains(&one, 300u);
    chains(&full, 300u);
    chains(&cold, 300u);
    fail_all(&one, every);
    fail_all(&cold, every);
    new = STATES;
    cut_all(&full, forget, 1);
    back(&full);
    if (keep_erase(&keep) != KEEP_OK || kept(boot()) != STATES)
        wrong("what is erased is still there");
    for (uint32_t i = 0, there = 0; i < driver.blocks; i++, there = 0) {
        for (uint32_t j = 0; j < driver.block; j++)
            there += flash.cells[i * driver.block + j] != 0xFFu;
        if (there > 64u + 3u * sizeof word)
            wrong("erasing leaves what was kept");
    }
    bad_blocks(&blank, needed);
    wear(&blank, &least, &most, &saves);
    printf("{\"operations\": %u, \"cuts\": %u, \"nested\": %u, \"chained\": %u, \"failures\": %u, \"old\": %u, \"new\": %u, \"mounts\": %u, \"settled\": %u, "
           "\"most_reads\": %u, \"reads_allowed\": %u, \"saves\": %u, \"least_erased\": %u, \"most_erased\": %u}\n",
           counts.operations, counts.cuts, counts.nested, counts.chained, counts.failures, counts.old, counts.fresh, counts.mounts, counts.settled,
           counts.most_reads, counts.reads_allowed, saves, least, most);
    return 0;
}
