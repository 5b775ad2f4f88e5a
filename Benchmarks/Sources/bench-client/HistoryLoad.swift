import CLoad
import Glibc

/// Repeats the same GET on kept connections, each waiting for its answer: as many requests as the server can handle.
final class HistoryLoad {
    struct Order {
        var port: UInt16
        var path: String
        var token: String
        var connections = 8
        var requests = 10_000
    }

    private struct Connection {
        var descriptor: Int32
        /// Bytes of the answer that are missing; nil before its head is known.
        var left: Int?
        var askedAt: Int64 = 0
        /// nginx ends a connection after a thousand requests, and says so.
        var isLast = false
    }

    private let order: Order
    private let poller = Poller()
    private var connections: [Connection] = []
    private let request: [UInt8]
    private let input = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 64)
    private var asked = 0
    private var answered = 0
    private var failed = 0
    private var bytes = 0
    private var latencies = Histogram()

    init(_ order: Order) {
        self.order = order
        request = Array(
            """
            GET \(order.path) HTTP/1.1\r
            Host: 127.0.0.1:\(order.port)\r
            Authorization: Bearer \(order.token)\r
            \r

            """.utf8)
    }

    func run() {
        for number in 0..<order.connections {
            connections.append(Connection(descriptor: connectLoopback(port: order.port)))
            poller.add(connections[number].descriptor, number: number)
        }
        print("ready")
        fflush(nil)
        guard readLine() != nil else { return }
        let (start, cpu) = (monotonic(), ownCPU())
        for number in connections.indices { ask(number) }
        while answered < order.requests {
            let before = answered
            poller.wait(nanoseconds: 10_000_000_000) { number, _ in read(number) }
            if answered == before, monotonic() - connections.map(\.askedAt).max()! > 10_000_000_000 {
                fail("no answer in ten seconds; \(answered) came before")
            }
        }
        let elapsed = monotonic() - start
        print("requests \(answered)")
        print("failed \(failed)")
        print("bytes \(bytes / answered)")
        print("elapsed_us \(elapsed / 1000)")
        print("p50_us \(latencies.quantile(0.5))")
        print("p99_us \(latencies.quantile(0.99))")
        print("client_us \((ownCPU() - cpu) / 1000)")
        print("end")
        fflush(nil)
    }

    private func ask(_ number: Int) {
        guard asked < order.requests else { return }
        asked += 1
        connections[number].askedAt = monotonic()
        connections[number].left = nil
        let sent = send(connections[number].descriptor, request, request.count, Int32(MSG_NOSIGNAL))
        guard sent == request.count else { fail("a request could not be sent: errno \(errno)") }
    }

    private func read(_ number: Int) {
        let got = recv(connections[number].descriptor, input.baseAddress, input.count, 0)
        guard got != 0 else { fail("the server closed a connection") }
        guard got > 0 else { return }
        var body = got
        if connections[number].left == nil {
            let head = readHead(UnsafeRawBufferPointer(rebasing: input[..<got]))
            connections[number].left = head.body
            connections[number].isLast = head.isLast
            body -= head.size
        }
        bytes += body
        connections[number].left! -= body
        guard connections[number].left == 0 else { return }
        answered += 1
        latencies.add(nanoseconds: monotonic() - connections[number].askedAt)
        if connections[number].isLast {
            close(connections[number].descriptor)
            connections[number] = Connection(descriptor: connectLoopback(port: order.port))
            poller.add(connections[number].descriptor, number: number)
        }
        ask(number)
    }

    /// nginx sends a head in one piece.
    private func readHead(_ bytes: UnsafeRawBufferPointer) -> (size: Int, body: Int, isLast: Bool) {
        func find(_ text: StaticString, from start: Int = 0) -> Int? {
            memmem(bytes.baseAddress! + start, bytes.count - start, text.utf8Start, text.utf8CodeUnitCount).map {
                UnsafeRawPointer($0) - bytes.baseAddress!
            }
        }
        guard let end = find("\r\n\r\n"), let length = find("Content-Length: "), length < end else {
            fail("an answer without a Content-Length: \(String(decoding: bytes.prefix(400), as: UTF8.self))")
        }
        if !String(decoding: bytes.prefix(12), as: UTF8.self).hasPrefix("HTTP/1.1 200") { failed += 1 }
        var body = 0
        for byte in bytes[(length + 16)...] {
            guard byte >= 48, byte <= 57 else { break }
            body = body * 10 + Int(byte - 48)
        }
        return (end + 4, body, find("Connection: close").map { $0 < end } ?? false)
    }
}
