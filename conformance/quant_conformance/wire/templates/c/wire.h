/* Reads questions and writes answers in the raw format of quant-conformance, version 1.
   C99 and C++; only the standard library; for little-endian machines. */
#ifndef QC_WIRE_H
#define QC_WIRE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QC_FLOAT32 = 1, QC_FLOAT16, QC_BFLOAT16, QC_INT8, QC_UINT8, QC_INT16, QC_INT32, QC_INT64 };
enum { QC_ANSWERED = 1, QC_REFUSED, QC_UNSUPPORTED, QC_FAILED };

typedef struct {
    char name[64];
    int dtype, rank;
    uint32_t shape[16], bytes;
    size_t count; /* elements */
    void *data;
} qc_tensor;

typedef struct {
    uint32_t id;
    char operation[64];
    int attributes, tensors;
    const uint8_t *first_attribute, *first_tensor, *end;
} qc_question;

typedef struct {
    uint8_t *data;
    size_t size, room;
    int status, tensors;
    char reason[200];
} qc_answer;

static inline uint32_t qc_u32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline uint16_t qc_u16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static inline size_t qc_padded(size_t n) { return (n + 7) / 8 * 8; }

/* The value of an attribute such as "spec/dtype", with its type and size; NULL if there is none. */
static inline const uint8_t *qc_attribute(const qc_question *q, const char *key, int *type, size_t *size)
{
    const uint8_t *p = q->first_attribute;
    for (int i = 0; i < q->attributes; i++) {
        size_t keys = qc_u16(p + 2), bytes = qc_u32(p + 4);
        const uint8_t *name = p + 8, *value = name + qc_padded(keys);
        if (keys == strlen(key) && !memcmp(name, key, keys)) {
            *type = p[0];
            *size = bytes;
            return value;
        }
        p = value + qc_padded(bytes);
    }
    return NULL;
}

/* Whether an attribute is this text. */
static inline int qc_is(const qc_question *q, const char *key, const char *text)
{
    int type = 0;
    size_t size = 0;
    const uint8_t *v = qc_attribute(q, key, &type, &size);
    return v && type == 4 && size == strlen(text) && !memcmp(v, text, size);
}

/* Copies a text, or gives an empty one. */
static inline const char *qc_text(const qc_question *q, const char *key, char *out, size_t room)
{
    int type = 0;
    size_t size = 0;
    const uint8_t *v = qc_attribute(q, key, &type, &size);
    if (!v || type != 4 || size >= room) size = 0;
    if (size) memcpy(out, v, size);
    out[size] = 0;
    return out;
}

/* An integer (or a bool, or the length of a list), or what is given for one that is missing. */
static inline int64_t qc_int(const qc_question *q, const char *key, int64_t missing)
{
    int type = 0;
    size_t size = 0;
    int64_t number;
    const uint8_t *v = qc_attribute(q, key, &type, &size);
    if (!v || size != 8 || type == 3) return missing;
    memcpy(&number, v, 8);
    return number;
}

/* Whether the attribute is there and is not null. */
static inline int qc_given(const qc_question *q, const char *key)
{
    int type = 0;
    size_t size = 0;
    return qc_attribute(q, key, &type, &size) && type != 0;
}

/* Finds a tensor; its data stay in the question. */
static inline int qc_find(const qc_question *q, const char *name, qc_tensor *t)
{
    const uint8_t *p = q->first_tensor;
    for (int i = 0; i < q->tensors; i++) {
        size_t names = qc_u16(p + 2);
        t->dtype = p[0];
        t->rank = p[1] > 16 ? 16 : p[1];
        t->bytes = qc_u32(p + 4);
        const uint8_t *shape = p + 8, *label = shape + qc_padded(4u * p[1]);
        t->data = (void *)(label + qc_padded(names));
        t->count = 1;
        for (int a = 0; a < t->rank; a++) t->count *= t->shape[a] = qc_u32(shape + 4 * a);
        if (names == strlen(name) && names < sizeof t->name && !memcmp(label, name, names)) {
            memcpy(t->name, name, names + 1);
            return 1;
        }
        p = (const uint8_t *)t->data + qc_padded(t->bytes);
    }
    return 0;
}

static inline uint8_t *qc_more(qc_answer *a, size_t size) /* zeroed room, padded to 8 */
{
    size_t whole = qc_padded(size);
    while (a->size + whole > a->room) {
        a->room = a->room ? 2 * a->room : 4096;
        a->data = (uint8_t *)realloc(a->data, a->room);
        if (!a->data) exit(70);
    }
    memset(a->data + a->size, 0, whole);
    a->size += whole;
    return a->data + a->size - whole;
}

/* Adds a tensor to the answer and returns the place of its data. */
static inline void *qc_give(qc_answer *a, const char *name, int dtype, int rank, const uint32_t *shape)
{
    static const uint8_t sizes[] = {0, 4, 2, 2, 1, 1, 2, 4, 8};
    size_t count = 1, names = strlen(name);
    for (int i = 0; i < rank; i++) count *= shape[i];
    uint8_t *head = qc_more(a, 8);
    uint16_t length = (uint16_t)names;
    uint32_t bytes = (uint32_t)(count * sizes[dtype]);
    head[0] = (uint8_t)dtype;
    head[1] = (uint8_t)rank;
    memcpy(head + 2, &length, 2);
    memcpy(head + 4, &bytes, 4);
    uint8_t *place = qc_more(a, 4u * rank);
    if (rank) memcpy(place, shape, 4u * rank);
    memcpy(qc_more(a, names), name, names);
    a->tensors++;
    a->status = QC_ANSWERED;
    return qc_more(a, bytes);
}

static inline void qc_say(qc_answer *a, int status, const char *reason)
{
    a->status = status;
    a->tensors = 0;
    a->size = 0;
    strncpy(a->reason, reason, sizeof a->reason - 1);
}

/* Answers every question of a stream; a function answers one. */
static inline int qc_serve(FILE *in, FILE *out, void (*function)(const qc_question *, qc_answer *))
{
    uint8_t header[16] = {'Q', 'C', 'W', '1', 2};
    if (fwrite(header, 1, 16, out) != 16 || fread(header, 1, 16, in) != 16) return 1;
    if (memcmp(header, "QCW1", 4)) return 2;
    uint8_t *data = NULL, length[4];
    qc_answer a = {NULL, 0, 0, 0, 0, ""};
    while (fread(length, 1, 4, in) == 4) {
        size_t size = qc_u32(length);
        data = (uint8_t *)realloc(data, size + 8);
        if (!data || size < 24 || fread(data, 1, size, in) != size) return 3;
        const uint8_t *p = data; /* behind the size: id 0, status 4, attributes 6, tensors 8, text 10 */
        qc_question q;
        size_t text = qc_u16(p + 10);
        memset(&q, 0, sizeof q);
        q.id = qc_u32(p);
        q.attributes = qc_u16(p + 6);
        q.tensors = qc_u16(p + 8);
        memcpy(q.operation, p + 20, text < 63 ? text : 63);
        q.first_attribute = p + 20 + qc_padded(text);
        q.first_tensor = q.first_attribute + qc_u32(p + 12);
        q.end = p + size;
        a.size = 0;
        a.tensors = 0;
        memset(a.reason, 0, sizeof a.reason);
        a.status = QC_UNSUPPORTED;
        function(&q, &a);
        uint16_t reason = (uint16_t)strlen(a.reason), status = (uint16_t)a.status, count = (uint16_t)a.tensors;
        uint8_t start[24] = {0};
        uint32_t total = (uint32_t)(20 + qc_padded(reason) + a.size);
        memcpy(start, &total, 4);
        memcpy(start + 4, &q.id, 4);
        memcpy(start + 8, &status, 2);
        memcpy(start + 12, &count, 2);
        memcpy(start + 14, &reason, 2);
        fwrite(start, 1, 24, out);
        fwrite(a.reason, 1, qc_padded(reason), out);
        fwrite(a.data, 1, a.size, out);
        if (fflush(out)) return 4; /* each answer at once: a crash then costs one case */
    }
    free(data);
    free(a.data);
    return 0;
}

/* Serves the files that are named, or standard input and output. */
static inline int qc_main(int argc, char **argv, void (*function)(const qc_question *, qc_answer *))
{
    FILE *in = argc == 3 ? fopen(argv[1], "rb") : stdin, *out = argc == 3 ? fopen(argv[2], "wb") : stdout;
    if (!in || !out) return 5;
    int code = qc_serve(in, out, function);
    return fclose(out) ? 6 : code;
}

#endif
