/// A script behind a FastCGI server such as php-fpm: `fcgi://unix:/run/php/php-fpm.sock/srv/app/chat.php`, or
/// `fcgi://127.0.0.1:9000/srv/app/chat.php`.
///
/// The path of a unix socket ends with its first part whose name ends with `.sock`. Another name is ended by a colon:
/// `fcgi://unix:/run/app:/srv/app/chat.php`. Nothing is percent-decoded in the form with a unix socket.
public struct FastCGIAddress: Sendable, Equatable {
    public enum Server: Sendable, Equatable {
        case unix(String)
        case tcp(ServerURL.Host)
    }

    public let server: Server
    /// The absolute path of the script on the server's machine.
    public let script: String

    /// Bytes of a unix socket's path (`sun_path` of Linux, without its end).
    private static let maxSocketPath = 107

    /// Whether the text is meant as such an address.
    public static func isMeant(_ text: String) -> Bool { asciiLowercased(text).utf8.starts(with: "fcgi:".utf8) }

    public init(_ text: String) throws(ServerURL.Problem) {
        let bytes = Array(text.utf8)
        guard bytes.allSatisfy({ $0 > 32 && $0 != 127 }) else {
            throw ServerURL.Problem("an address of FastCGI has no blanks and no control characters")
        }
        guard !bytes.contains(UInt8(ascii: "?")), !bytes.contains(UInt8(ascii: "#")) else {
            throw ServerURL.Problem("an address of FastCGI has no query and no fragment: no ? and no #")
        }
        let local = "fcgi://unix:".utf8
        if asciiLowercased(text).utf8.starts(with: local) {
            let (socket, script) = try Self.split(bytes.dropFirst(local.count))
            guard socket.count <= Self.maxSocketPath else {
                throw ServerURL.Problem("the path of a unix socket has at most \(Self.maxSocketPath) bytes")
            }
            server = .unix(String(decoding: socket, as: UTF8.self))
            self.script = String(decoding: script, as: UTF8.self)
        } else {
            let url = try ServerURL(text, ports: ["fcgi": 9000])
            guard url.hosts.count == 1 else { throw ServerURL.Problem("it names several hosts") }
            guard url.user == nil else { throw ServerURL.Problem("FastCGI knows no user and no password") }
            server = .tcp(url.hosts[0])
            script = "/\(url.path ?? "")"
        }
        let parts = script.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).dropFirst()
        guard parts.last?.isEmpty == false, !parts.contains(where: { $0.elementsEqual("..".utf8) }) else {
            throw ServerURL.Problem(
                "it must end with the absolute path of a script: fcgi://unix:/run/php/php-fpm.sock/srv/app/chat.php")
        }
    }

    /// The socket's path and the script's, which may be empty.
    private static func split(_ path: ArraySlice<UInt8>) throws(ServerURL.Problem) -> (
        ArraySlice<UInt8>, ArraySlice<UInt8>
    ) {
        guard path.first == UInt8(ascii: "/") else {
            throw ServerURL.Problem("the path of a unix socket begins with /")
        }
        if let colon = path.firstIndex(of: UInt8(ascii: ":")) {
            let script = path[(colon + 1)...]
            guard script.first == UInt8(ascii: "/") else {
                throw ServerURL.Problem("the path of a script begins with /")
            }
            return (path[..<colon], script)
        }
        for slash in path.indices.dropFirst() where path[slash] == UInt8(ascii: "/") {
            if path[..<slash].suffix(5).elementsEqual(".sock".utf8) { return (path[..<slash], path[slash...]) }
        }
        throw ServerURL.Problem("a unix socket whose name does not end with .sock is followed by a colon")
    }
}
