#include "http/bytes.h"

enum {
    V = BYTE_VALUE,
    U = BYTE_VALUE | BYTE_TARGET,
    H = U | BYTE_HOST,
    T = U | BYTE_TOKEN,
    TH = T | BYTE_HOST,
};

const uint8_t byte_classes[256] = {
    ['\t'] = V,  [' '] = V,  ['!'] = TH, ['"'] = U,  ['#'] = V | BYTE_TOKEN, ['$'] = TH, ['%'] = T,
    ['&'] = TH,  ['\''] = TH, ['('] = H, [')'] = H,  ['*'] = TH,             ['+'] = TH, [','] = U,
    ['-'] = TH,  ['.'] = TH, ['/'] = U,  [':'] = U,  [';'] = H,              ['<'] = U,  ['='] = H,
    ['>'] = U,   ['?'] = U,  ['@'] = U,  ['['] = U,  ['\\'] = U,             [']'] = U,  ['^'] = T,
    ['_'] = TH,  ['`'] = T,  ['{'] = U,  ['|'] = T,  ['}'] = U,              ['~'] = TH,
    ['0' ... '9'] = TH, ['A' ... 'Z'] = TH, ['a' ... 'z'] = TH, [0x80 ... 0xff] = V,
};
