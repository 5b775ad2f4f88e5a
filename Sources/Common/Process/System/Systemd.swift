import CLinux
@preconcurrency import Glibc

/// systemd's two small protocols, without its library: socket activation and readiness notifications.
enum Systemd {
    /// Descriptors bound by systemd, by their `FileDescriptorName=`: the pool's name.
    static func givenSockets() throws -> [(name: String, descriptor: Descriptor)] {
        defer { for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { unsetenv(name) } }
        guard environment("LISTEN_PID").flatMap(pid_t.init) == getpid(),
            let count = environment("LISTEN_FDS").flatMap(Int32.init), count > 0, count < 60
        else { return [] }
        let names =
            environment("LISTEN_FDNAMES")?.split(separator: ":", omittingEmptySubsequences: false) ?? []
        return try (0..<count).map { index in
            let name = Int(index) < names.count ? String(names[Int(index)]) : ""
            return (name, try Descriptor(high: 3 + index, "take over the socket \(name) from systemd"))
        }
    }

    /// Sends `READY=1` and similar notes; does nothing without systemd. A lost note is not an error.
    static func notify(_ state: String) {
        guard let path = environment("NOTIFY_SOCKET"), path.hasPrefix("/") || path.hasPrefix("@") else {
            return
        }
        let socket = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { return }
        defer { close(socket) }
        let bytes = Array(state.utf8)
        _ = withUnixAddress(path) { address, length in
            sendto(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT), address, length)
        }
    }
}

func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
