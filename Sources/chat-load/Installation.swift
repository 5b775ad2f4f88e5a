import ChatCore
import Glibc

/// The installation under load: its address, and what connecting needs.
struct Installation {
    let scheme: String
    let host: String
    let port: Int
    /// The path before `/api/v1`: empty, or `/chat`.
    let prefix: String
    let authorities: String?
    private(set) var addresses: [Address] = []

    struct Address {
        var storage = sockaddr_storage()
        var length = socklen_t(0)
        var family: Int32 = 0
    }

    var isSecure: Bool { scheme == "https" }
    var authority: String { ServerURL.Host(host, port).description }
    var base: String { "\(scheme)://\(authority)\(prefix)" }
    var api: String { "\(base)/api/v1" }

    init(_ text: String, authorities: String?) throws(Unusable) {
        self.authorities = authorities
        do throws(ServerURL.Problem) {
            let url = try ServerURL(text, ports: ["http": 80, "https": 443])
            try url.expectOnly([])
            guard url.user == nil, url.password == nil else {
                throw ServerURL.Problem("it contains a user or a password")
            }
            guard url.hosts.count == 1 else { throw ServerURL.Problem("it names several hosts") }
            let path = url.path ?? ""
            guard path.utf8.allSatisfy({ $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "#") && $0 != UInt8(ascii: "?") })
            else { throw ServerURL.Problem("its path contains an invalid character") }
            scheme = url.scheme
            (host, port) = (url.hosts[0].name, url.hosts[0].port)
            var bytes = Array(path.utf8)
            while bytes.last == UInt8(ascii: "/") { bytes.removeLast() }
            prefix = bytes.isEmpty ? "" : "/" + String(decoding: bytes, as: UTF8.self)
        } catch {
            throw Unusable("--url: \(error)")
        }
    }

    /// Looks the host up, once for the run.
    mutating func resolve() throws(Unusable) {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, String(port), &hints, &list)
        guard code == 0 else {
            throw Unusable("the name \(host) cannot be resolved: \(String(cString: gai_strerror(code)))")
        }
        defer { freeaddrinfo(list) }
        var entry = list
        while let one = entry {
            var address = Address(length: one.pointee.ai_addrlen, family: one.pointee.ai_family)
            withUnsafeMutableBytes(of: &address.storage) {
                $0.copyMemory(
                    from: UnsafeRawBufferPointer(start: one.pointee.ai_addr, count: Int(one.pointee.ai_addrlen)))
            }
            addresses.append(address)
            entry = one.pointee.ai_next
        }
    }

    /// The addresses are tried in turn.
    func connectSocket(attempt: Int) -> Int32? {
        var address = addresses[attempt % addresses.count]
        let descriptor = socket(
            address.family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        var one: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
        let status = withUnsafePointer(to: &address.storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, address.length) }
        }
        guard status == 0 || errno == EINPROGRESS else {
            close(descriptor)
            return nil
        }
        return descriptor
    }
}

/// Wrong use, or an installation that cannot be reached: exit status 2.
struct Unusable: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
