// In place of ggml-rpc's transport.cpp: the same interface over sockets that are handed in (given_sockets.h).
#include "ggml-rpc/transport.h"

#include "given_sockets.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#if defined(_WIN32)
#    ifndef NOMINMAX
#        define NOMINMAX
#    endif
#    include <winsock2.h>
#else
#    include <sys/socket.h>
#    include <unistd.h>
#endif

#if !defined(MSG_NOSIGNAL)
#    define MSG_NOSIGNAL 0
#endif

static sf_rpc_connect connect_function;
static sf_rpc_accept  accept_function;

extern "C" void sf_rpc_transport(sf_rpc_connect connect, sf_rpc_accept accept) {
    connect_function = connect;
    accept_function  = accept;
}

#if defined(_WIN32)
using handle = SOCKET;
static void close_handle(handle socket) { closesocket(socket); }
static bool was_interrupted() { return WSAGetLastError() == WSAEINTR; }
#else
using handle = int;
static void close_handle(handle socket) { close(socket); }
static bool was_interrupted() { return errno == EINTR; }
#endif

struct socket_t::impl {
    explicit impl(int64_t number) : socket((handle) number), open(number >= 0) {}
    ~impl() {
        if (open) {
            close_handle(socket);
        }
    }

    handle socket;
    bool   open; // the server has none of its own
};

socket_t::socket_t(std::unique_ptr<impl> p) : pimpl(std::move(p)) {}

socket_t::~socket_t() = default;

static int piece(size_t size) {
    return (int) std::min(size, MAX_CHUNK_SIZE);
}

bool socket_t::send_data(const void * data, size_t size) {
    auto * at = (const char *) data;
    while (size > 0) {
        const auto sent = ::send(pimpl->socket, at, piece(size), MSG_NOSIGNAL);
        if (sent < 0 && was_interrupted()) {
            continue;
        }
        if (sent <= 0) {
            return false;
        }
        at += sent;
        size -= (size_t) sent;
    }
    return true;
}

bool socket_t::recv_data(void * data, size_t size) {
    auto * at = (char *) data;
    while (size > 0) {
        const auto got = ::recv(pimpl->socket, at, piece(size), 0);
        if (got < 0 && was_interrupted()) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        at += got;
        size -= (size_t) got;
    }
    return true;
}

bool socket_t::flush() {
    return true;
}

socket_ptr socket_t::accept() {
    const int64_t client = accept_function != nullptr ? accept_function() : -1;
    return client < 0 ? nullptr : socket_ptr(new socket_t(std::make_unique<impl>(client)));
}

socket_ptr socket_t::create_server(const char *, int) {
    return socket_ptr(new socket_t(std::make_unique<impl>(-1)));
}

socket_ptr socket_t::connect(const char * host, int port) {
    const int64_t server = connect_function != nullptr ? connect_function(host, port) : -1;
    return server < 0 ? nullptr : socket_ptr(new socket_t(std::make_unique<impl>(server)));
}

// A connection is what it is: there is nothing to be negotiated (upstream's is RDMA).
void socket_t::get_caps(uint8_t * local_caps) {
    memset(local_caps, 0, RPC_CONN_CAPS_SIZE);
}

void socket_t::update_caps(const uint8_t *) {}

bool rpc_transport_init() {
    return true;
}

void rpc_transport_shutdown() {}
