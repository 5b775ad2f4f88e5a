import Glibc

/// The place that a listen address leads to. Two spellings of one socket give the same place, also through linked
/// folders.
public enum SocketPlace: Hashable, Sendable {
    /// The folder by device and inode, or by its plain path while it does not exist.
    case file(folder: String, name: String)
    /// The address in numbers.
    case port(host: String, port: String)

    /// - Parameter listen: `unix:/path` or `host:port`.
    public init(_ listen: String) {
        self = listen.utf8.starts(with: "unix:".utf8) ? Self.file(listen.utf8.dropFirst(5)) : Self.port(listen)
    }

    /// Whether the kernel would refuse to bind both.
    public func collides(with other: SocketPlace) -> Bool {
        guard case .port(let ours, let port) = self, case .port(let theirs, port) = other else { return self == other }
        let all = "0.0.0.0"
        return ours == theirs || ours == "::" || theirs == "::" || ours == all && !theirs.utf8.contains(0x3a)
            || theirs == all && !ours.utf8.contains(0x3a)
    }

    // MARK: Files of RUN_DIR

    /// Whether it is a file that our programs reserve in RUN_DIR: a control socket, a lock, a scoreboard, a file
    /// keeper's socket. No pool may listen there.
    public func isReserved(in runDirectory: String) -> Bool {
        guard case .file(let folder, let name) = self, folder == Self.folder(runDirectory) else { return false }
        return name.utf8.first == UInt8(ascii: ".")
            || ["fcgi-api", "ws-relay", "queue-worker"].contains { program in
                name.utf8.starts(with: "\(program).".utf8) && !name.utf8.elementsEqual("\(program).sock".utf8)
            }
    }

    /// Whether two paths lead to one file: compares the files, following links, or the places while a file does not
    /// exist.
    public static func isOneFile(_ one: String, _ other: String) -> Bool {
        var (mine, theirs) = (stat(), stat())
        guard stat(one, &mine) == 0, stat(other, &theirs) == 0 else {
            return SocketPlace("unix:\(one)") == SocketPlace("unix:\(other)")
        }
        return mine.st_dev == theirs.st_dev && mine.st_ino == theirs.st_ino
    }

    // MARK: Reading

    private static func file(_ path: Substring.UTF8View) -> SocketPlace {
        guard let end = path.lastIndex(of: UInt8(ascii: "/")) else {
            return .file(folder: folder("."), name: String(Substring(path)))
        }
        let name = path[end...].drop { $0 == UInt8(ascii: "/") }
        return .file(folder: folder(String(Substring(path[..<end]))), name: String(Substring(name)))
    }

    private static func folder(_ path: String) -> String {
        var status = stat()
        guard stat(path.isEmpty ? "/" : path, &status) == 0 else { return plain(path) }
        return "\(status.st_dev):\(status.st_ino)"
    }

    private static func plain(_ path: String) -> String {
        var words: [Substring] = []
        for word in pieces(of: path, at: UInt8(ascii: "/")) {
            if word.utf8.elementsEqual("..".utf8) {
                _ = words.popLast()
            } else if !word.utf8.elementsEqual(".".utf8) {
                words.append(word)
            }
        }
        return "/" + words.joined(separator: "/")
    }

    /// A host name is resolved in the same way as for `bind`.
    private static func port(_ text: String) -> SocketPlace {
        let colon = text.utf8.lastIndex(of: UInt8(ascii: ":")) ?? text.utf8.startIndex
        let port = String(Substring(text.utf8[colon...].dropFirst()))
        var host = String(Substring(text.utf8[..<colon]))
        if host.utf8.first == UInt8(ascii: "[") { host = String(Substring(host.utf8.dropFirst().dropLast())) }
        if host.isEmpty || host.utf8.elementsEqual("*".utf8) { host = "0.0.0.0" }
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE
        var found: UnsafeMutablePointer<addrinfo>?
        var number = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        guard getaddrinfo(host, port, &hints, &found) == 0, let address = found?.pointee else {
            return .port(host: host, port: port)
        }
        defer { freeaddrinfo(found) }
        let size = socklen_t(number.count)
        guard getnameinfo(address.ai_addr, address.ai_addrlen, &number, size, nil, 0, NI_NUMERICHOST) == 0 else {
            return .port(host: host, port: port)
        }
        let bytes = number.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return .port(host: String(decoding: bytes, as: UTF8.self), port: port)
    }
}
