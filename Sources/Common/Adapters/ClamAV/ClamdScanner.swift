public import ChatCore
import Glibc

/// Scans a file by sending its bytes to ClamAV's daemon over a socket: the daemon needs no access to our files.
public final class ClamdScanner: ContentScanner {
    private static let block = 65_536
    /// How long one read or write may take.
    private static let timeout = Duration.seconds(60)
    private let address: String

    /// - Parameter address: `unix:/path` or `host:port`.
    public init(address: String) { self.address = address }

    public func scan(_ file: FilePart) throws(StoreError) -> String? {
        let socket = try connect()
        defer { close(socket) }
        try send(Array("zINSTREAM\0".utf8), socket)
        var buffer = [UInt8](repeating: 0, count: Self.block)
        var sent: Int64 = 0
        while sent < file.length {
            let wanted = Int(min(Int64(buffer.count), file.length - sent))
            let count = pread(file.descriptor, &buffer, wanted, off_t(file.offset + sent))
            guard count > 0 else { throw StoreError("clamd: the file cannot be read", isTransient: true) }
            try send(withUnsafeBytes(of: UInt32(count).bigEndian) { Array($0) } + buffer[..<count], socket)
            sent += Int64(count)
        }
        try send([0, 0, 0, 0], socket)
        return try verdict(receive(socket))
    }

    /// `stream: OK`, `stream: NAME FOUND` or `… ERROR`.
    private func verdict(_ answer: String) throws(StoreError) -> String? {
        if answer.hasSuffix("OK") { return nil }
        guard answer.hasSuffix(" FOUND") else { throw StoreError("clamd: \(answer)", isTransient: true) }
        return String(answer.dropLast(6).drop { $0 != ":" }.dropFirst(2))
    }

    private func connect() throws(StoreError) -> Int32 {
        guard let socket = address.hasPrefix("unix:") ? connectUnix(String(address.dropFirst(5))) : connectTCP() else {
            throw StoreError("clamd cannot be reached", isTransient: true)
        }
        var limit = timeval(tv_sec: Int(Self.timeout.seconds), tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(socket, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        return socket
    }

    private func connectUnix(_ path: String) -> Int32? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return nil }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                open(AF_UNIX, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }

    /// The host without the brackets of an IPv6 address.
    private static func bare(_ host: Substring) -> String {
        let bytes = Array(host.utf8)
        guard bytes.first == UInt8(ascii: "["), bytes.last == UInt8(ascii: "]") else { return String(host) }
        return String(decoding: bytes.dropFirst().dropLast(), as: UTF8.self)
    }

    private func connectTCP() -> Int32? {
        guard let colon = address.lastIndex(of: ":") else { return nil }
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard
            getaddrinfo(Self.bare(address[..<colon]), String(address[address.index(after: colon)...]), &hints, &list)
                == 0
        else { return nil }
        defer { freeaddrinfo(list) }
        for entry in sequence(first: list, next: { $0?.pointee.ai_next }) {
            guard let entry else { break }
            if let socket = open(entry.pointee.ai_family, entry.pointee.ai_addr, entry.pointee.ai_addrlen) {
                return socket
            }
        }
        return nil
    }

    private func open(_ family: Int32, _ address: UnsafePointer<sockaddr>, _ length: socklen_t) -> Int32? {
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        guard Glibc.connect(descriptor, address, length) == 0 else {
            close(descriptor)
            return nil
        }
        return descriptor
    }

    private func send(_ bytes: [UInt8], _ socket: Int32) throws(StoreError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            // clamd explains why it closes the connection (such as a file over its limit) before it does: read the
            // answer anyway.
            guard count > 0 else {
                throw StoreError("clamd closed the connection: \((try? receive(socket)) ?? "")", isTransient: true)
            }
            rest = rest.dropFirst(count)
        }
    }

    private func receive(_ socket: Int32) throws(StoreError) -> String {
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1024)
        while answer.count < 4096, !answer.contains(0) {
            let count = recv(socket, &buffer, buffer.count, 0)
            guard count >= 0 else { throw StoreError("clamd does not answer", isTransient: true) }
            guard count > 0 else { break }
            answer += buffer[..<count]
        }
        return String(decoding: answer.prefix { $0 != 0 }, as: UTF8.self)
    }
}
