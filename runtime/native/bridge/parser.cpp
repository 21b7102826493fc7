#include "parser.h"

#include "arg.h"
#include "bridge.h"
#include "hooks.h"
#include "json.h"
#include "text.h"

#include <stdexcept>

namespace solofile {

// The parser's text is an error with a usage below it; the first paragraph is what a user needs.
static std::string first_paragraph(std::string text) {
    const size_t end = text.find("\n\n");
    text             = text.substr(0, end);
    const size_t usage = text.find("\nusage:");
    text               = text.substr(0, usage);
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) {
        text.pop_back();
    }
    const std::string prefix = "error: ";
    return text.compare(0, prefix.size(), prefix) == 0 ? text.substr(prefix.size()) : text;
}

void parse_arguments(const std::vector<std::string> & arguments, common_params & params) {
    std::vector<std::string> copy = arguments;
    copy.insert(copy.begin(), "solofile");
    std::vector<char *> argv;
    for (auto & argument : copy) {
        argv.push_back(&argument[0]);
    }
    argv.push_back(nullptr);

    take_parser_text();
    bool parsed = false;
    try {
        parsed = common_params_parse((int) copy.size(), argv.data(), params, LLAMA_EXAMPLE_SERVER);
    } catch (const parser_exit &) {
        // --help, --version and the like: the runtime answers these itself and never passes them on
    }
    if (!parsed) {
        const std::string text = first_paragraph(take_parser_text());
        throw std::invalid_argument(text.empty() ? "an option ended the argument parser" : text);
    }
}

static int value_count(const common_arg & option) {
    if (option.handler_void != nullptr || option.handler_bool != nullptr) {
        return 0;
    }
    return option.handler_str_str != nullptr ? 2 : 1;
}

std::string options_json() {
    common_params params;
    auto          context = common_params_parser_init(params, LLAMA_EXAMPLE_SERVER);
    common_json   list    = common_json::array();
    for (const auto & option : context.options) {
        common_json entry = common_json::object();
        common_json args = common_json::array(), args_neg = common_json::array();
        for (const char * arg : option.args) {
            args.push_back(std::string(arg));
        }
        for (const char * arg : option.args_neg) {
            args_neg.push_back(std::string(arg));
        }
        entry["args"]     = args;
        entry["args_neg"] = args_neg;
        entry["values"]   = value_count(option);
        entry["env"]      = std::string(option.env != nullptr ? option.env : "");
        entry["help"]     = option.help;
        list.push_back(entry);
    }
    return list.dump_safe();
}

} // namespace solofile

extern "C" size_t sf_options(char * out, size_t size) {
    try {
        return solofile::put_text(solofile::options_json(), out, size);
    } catch (...) {
        return 0;
    }
}
