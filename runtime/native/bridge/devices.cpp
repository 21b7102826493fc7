// What the loaded backends can compute on.
#include "bridge.h"
#include "ggml-backend.h"
#include "json.h"
#include "text.h"

namespace solofile {

static std::string type_name(enum ggml_backend_dev_type type) {
    switch (type) {
        case GGML_BACKEND_DEVICE_TYPE_CPU:  return "cpu";
        case GGML_BACKEND_DEVICE_TYPE_GPU:  return "gpu";
        case GGML_BACKEND_DEVICE_TYPE_IGPU: return "igpu";
        default:                            return "accel";
    }
}

static std::string text_or_empty(const char * text) {
    return text != nullptr ? text : "";
}

static std::string devices_json() {
    common_json list = common_json::array();
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        ggml_backend_dev_t     device = ggml_backend_dev_get(i);
        ggml_backend_dev_props props{};
        ggml_backend_dev_get_props(device, &props);
        common_json entry     = common_json::object();
        entry["name"]         = text_or_empty(props.name);
        entry["backend"]      = text_or_empty(ggml_backend_reg_name(ggml_backend_dev_backend_reg(device)));
        entry["description"]  = text_or_empty(props.description);
        entry["type"]         = type_name(props.type);
        entry["id"]           = text_or_empty(props.device_id);
        entry["memory_free"]  = props.memory_free;
        entry["memory_total"] = props.memory_total;
        list.push_back(entry);
    }
    return list.dump_safe();
}

} // namespace solofile

extern "C" size_t sf_devices(char * out, size_t size) {
    try {
        return solofile::put_text(solofile::devices_json(), out, size);
    } catch (...) {
        return 0;
    }
}
