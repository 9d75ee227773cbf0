/* A power that goes where it is told, for stores in memory. */
#ifndef WORLD_H
#define WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition) \
    do { \
        if (!(condition)) { \
            printf("line %d: %s (operation %lu, %d)\n", __LINE__, #condition, world.at, world.how); \
            (void)fflush(stdout); \
            exit(1); \
        } \
    } while (0)

enum { BEFORE = 0, HALF = 1, AFTER = 2 };        /* where in an operation the power goes */
enum { DONE = 0, NOT_DONE = 1, HALF_DONE = 2, DONE_AND_GONE = 3 };

static struct {
    unsigned long operations; /* so far */
    unsigned long at;         /* the one at which the power goes; 0: it stays */
    int how;
    int passes; /* the fault passes: an error is answered, and the store goes on */
    int dead;
} world;

/* What becomes of the next operation. */
static int world_operation(void)
{
    if (world.dead)
        return NOT_DONE;
    world.operations++;
    if (world.operations != world.at)
        return DONE;
    world.dead = !world.passes;
    return world.how == BEFORE ? NOT_DONE : world.how == HALF ? HALF_DONE : DONE_AND_GONE;
}

static void world_cut(unsigned long at, int how, int passes)
{
    world.operations = 0;
    world.at = at;
    world.how = how;
    world.passes = passes;
    world.dead = 0;
}

#endif
