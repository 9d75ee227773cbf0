/* The model with what it is given and what it says, and the requests that make it do something. */
#ifndef SYNAPCC_MACHINE_H
#define SYNAPCC_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model_binding.h"
#include "requests.h"
#include "sha256.h"

#define MACHINE_OUTPUT_BYTES (offsetof(model_outputs_t, scores) + sizeof ((model_outputs_t *)0)->scores)

/* LEARN_MANY: bytes of a sample, and how many samples fit the request and their proofs the reply. */
#define MACHINE_SAMPLE_BYTES (PROTO_SAMPLE_BYTES + (uint32_t)sizeof(model_inputs_t))
#define MACHINE_BATCH_ASKED (PROTO_LEARN_MANY_TAIL / MACHINE_SAMPLE_BYTES)
#define MACHINE_BATCH (MACHINE_BATCH_ASKED < PROTO_PROOFS ? MACHINE_BATCH_ASKED : PROTO_PROOFS)

typedef struct {
    model_t model;
    model_inputs_t input;
    model_outputs_t output;
    uint8_t *samples; /* region samples: in RAM that the firmware leaves over */
    uint32_t kept;    /* how many it holds */
    bool unchecked; /* the state was written to, and nothing has run on it since */
    bool in_slices; /* BEGIN was executed, and not yet the last STEP */
    uint32_t learns, infers;
} machine_t;

extern machine_t machine;

/* Weights as compiled, nothing counted. */
void machine_start(void);

/* Whether a request with these flags may change the state: BAD_ARGUMENT, BUSY, OK. */
proto_status machine_idle(uint8_t flags);

/* And whether the state is one that the model can reach: BAD_STATE as well. */
proto_status machine_settled(uint8_t flags);

/* Empty input and output, nothing in progress; the state is for the caller to set up. */
void machine_clear(void);

/* Appends what the flags ask for of the state, in the order of the protocol. */
void machine_prove(reply_t *reply, uint8_t flags);

proto_status machine_infer(const request_t *request, reply_t *reply);
proto_status machine_learn(const request_t *request, reply_t *reply);
proto_status machine_learn_many(const request_t *request, reply_t *reply);
proto_status machine_learn_kept(const request_t *request, reply_t *reply);
proto_status machine_load(const request_t *request, reply_t *reply);
proto_status machine_run(const request_t *request, reply_t *reply);
proto_status machine_run_op(const request_t *request, reply_t *reply);
proto_status machine_begin(const request_t *request, reply_t *reply);
proto_status machine_step(const request_t *request, reply_t *reply);
proto_status machine_abort(const request_t *request, reply_t *reply);
proto_status machine_count(const request_t *request, reply_t *reply);
proto_status machine_digest(const request_t *request, reply_t *reply);
proto_status machine_reset(const request_t *request, reply_t *reply);

#endif
