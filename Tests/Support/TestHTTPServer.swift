import Glibc
import Synchronization

/// A server on loopback that answers each connection with the next of its answers and keeps what it was asked. Behind the
/// last one nobody is answered any more, and nobody is cut off.
public final class TestHTTPServer {
    /// The state shared by the server's thread and the test.
    private final class Conversation: Sendable {
        let listener: Int32
        let answers: [String]
        let heads = Mutex<[String]>([])

        init(_ listener: Int32, _ answers: [String]) {
            self.listener = listener
            self.answers = answers
        }

        deinit { close(listener) }

        func serve() {
            for answer in answers {
                let client = accept(listener, nil, nil)
                guard client >= 0 else { return }
                let head = readRequest(client)
                heads.withLock { $0.append(head) }
                _ = send(client, answer, answer.utf8.count, Int32(MSG_NOSIGNAL))
                close(client)
            }
        }

        /// - Returns: the head; the body is read as well, so that the client is not cut off in it.
        private func readRequest(_ client: Int32) -> String {
            var bytes: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while true {
                let count = recv(client, &buffer, buffer.count, 0)
                guard count > 0 else { break }
                bytes += buffer[..<count]
                let text = String(decoding: bytes, as: UTF8.self)
                guard let end = text.firstRange(of: "\r\n\r\n") else { continue }
                let head = String(text[..<end.lowerBound])
                let length = TestHTTPServer.field("content-length", of: head).flatMap { Int($0) } ?? 0
                if bytes.count >= head.utf8.count + 4 + length { return head }
            }
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    private let conversation: Conversation
    public let url: String

    public init(_ answers: [String]) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(listener, $0, length)
                _ = listen(listener, 8)
                _ = getsockname(listener, $0, &length)
            }
        }
        url = "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))"
        conversation = Conversation(listener, answers)
        var thread = pthread_t()
        let context = Unmanaged.passRetained(conversation).toOpaque()
        pthread_create(
            &thread, nil,
            { context in
                Unmanaged<Conversation>.fromOpaque(context!).takeRetainedValue().serve()
                return nil
            }, context)
        pthread_detach(thread)
    }

    /// Wakes the thread in case it still waits.
    deinit { shutdown(conversation.listener, Int32(SHUT_RDWR)) }

    /// The heads of all requests.
    public var heads: [String] { conversation.heads.withLock { $0 } }

    /// An answer without a body.
    public static func answer(_ status: Int, _ headers: String...) -> String {
        let lines = ["HTTP/1.1 \(status) X", "Content-Length: 0", "Connection: close"] + headers
        return lines.map { "\($0)\r\n" }.joined() + "\r\n"
    }

    /// A header's value.
    public static func field(_ name: String, of head: String) -> String? {
        for line in head.split(separator: "\r\n") {
            guard let colon = line.firstIndex(of: ":"), line[..<colon].lowercased() == name else { continue }
            return String(line[line.index(after: colon)...].drop { $0 == " " })
        }
        return nil
    }
}
