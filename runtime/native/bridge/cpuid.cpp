// What the CPU says of itself, unfiltered: the runtime decodes it (features need the operating system's consent too,
// which is in xcr0).
#include "bridge.h"
#include "json.h"
#include "text.h"

#include <cstdio>

#if defined(__x86_64__)
#    include <cpuid.h>
#endif

namespace solofile {

#if defined(__x86_64__)

static constexpr unsigned osxsave = 1u << 27; // leaf 1, ecx: the xgetbv instruction may be used

static uint64_t extended_control_register() {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((uint64_t) high << 32) | low;
}

static std::string cpu_json() {
    struct leaf {
        unsigned number, sub;
    };
    static constexpr leaf wanted[] = { { 0, 0 },          { 1, 0 },          { 7, 0 },          { 7, 1 },
                                       { 0xd, 1 },        { 0x80000000, 0 }, { 0x80000001, 0 }, { 0x80000002, 0 },
                                       { 0x80000003, 0 }, { 0x80000004, 0 } };
    const unsigned last          = __get_cpuid_max(0, nullptr);
    const unsigned last_extended = __get_cpuid_max(0x80000000, nullptr);

    uint64_t    xcr0   = 0;
    common_json leaves = common_json::object();
    for (const auto & leaf : wanted) {
        if (leaf.number > (leaf.number < 0x80000000 ? last : last_extended)) {
            continue; // a CPU answers for a leaf that it lacks with those of another
        }
        unsigned eax, ebx, ecx, edx;
        __cpuid_count(leaf.number, leaf.sub, eax, ebx, ecx, edx);
        if (leaf.number == 7 && leaf.sub > 0 && leaf.sub > leaves.at("7.0").at((size_t) 0).get<unsigned>()) {
            continue;
        }
        if (leaf.number == 1 && (ecx & osxsave) != 0) {
            xcr0 = extended_control_register();
        }
        char name[24];
        std::snprintf(name, sizeof(name), "%x.%x", leaf.number, leaf.sub);
        leaves[name] = common_json::array({ eax, ebx, ecx, edx });
    }
    common_json facts = common_json::object();
    facts["arch"]     = std::string("x86_64");
    facts["leaves"]   = leaves;
    facts["xcr0"]     = xcr0;
    return facts.dump();
}

#else

static std::string cpu_json() {
    common_json facts = common_json::object();
    facts["arch"]     = std::string("aarch64"); // its features come from the operating system
    return facts.dump();
}

#endif

} // namespace solofile

extern "C" size_t sf_cpu(char * out, size_t size) {
    try {
        return solofile::put_text(solofile::cpu_json(), out, size);
    } catch (...) {
        return 0;
    }
}
