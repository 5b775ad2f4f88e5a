import ChatCore
import Dispatch
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import ChatAdapters

/// Requests to the host application, and forbidden targets.
@Suite struct HookClientTests {
    private func client(private isPrivate: String) throws -> HookClient {
        let values = ["WEBHOOK_SECRET": String(repeating: "x", count: 32), "WEBHOOK_PRIVATE": isPrivate]
        return HookClient(try Settings(testing: values).hooks)
    }

    private let hook = PendingHook(key: HookKey(room: .zero, seq: 1), name: "message.created", body: [], attempts: 0)

    /// Both loopback addresses: as numbers, in other spellings, inside IPv6, and by name.
    @Test(arguments: [
        "127.0.0.1", "localhost", "2130706433", "0x7f.1", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "10.0.0.1", "169.254.169.254", "192.168.0.1", "[fd00::1]", "[fe80::1]",
    ])
    func aPrivateAddressIsNotConnectedTo(_ host: String) throws {
        let listener = try #require(Listener())
        let why = try client(private: "no").send(hook, to: "http://\(host):\(listener.port)/", timeout: .seconds(5))
        #expect(why?.isEmpty == false)
        #expect(listener.answer(with: "") == nil)
    }

    @Test func onlyWhereItIsAllowed() throws {
        let listener = try #require(Listener())
        let request = listener.answerBeside("HTTP/1.1 204 No Content\r\n\r\n")
        #expect(
            try client(private: "yes").send(hook, to: "http://127.0.0.1:\(listener.port)/", timeout: .seconds(20))
                == nil)
        #expect(request()?.contains("X-Chat-Signature: t=") == true)
    }

    /// Neither to another path nor to another machine: only the operator names the host.
    @Test func aRedirectIsAnAnswerAndNotFollowed() throws {
        let (listener, other) = (try #require(Listener()), try #require(Listener()))
        let request = listener.answerBeside(
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:\(other.port)/\r\nContent-Length: 0\r\n\r\n")
        let why = try client(private: "yes").send(hook, to: "http://127.0.0.1:\(listener.port)/", timeout: .seconds(20))
        #expect(why == "it answered 302")
        #expect(request() != nil && other.answer(with: "") == nil)
    }
}

/// Listens on both loopback addresses.
private final class Listener: Sendable {
    let port: UInt16
    private let sockets: [Int32]
    private let head = Mutex<String?>(nil)
    private let done = DispatchSemaphore(value: 0)

    init?() {
        let four = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        (address.sin_family, address.sin_addr.s_addr) = (sa_family_t(AF_INET), UInt32(0x7F00_0001).bigEndian)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutableBytes(of: &address) { raw in
            let pointer = raw.baseAddress!.assumingMemoryBound(to: sockaddr.self)
            return bind(four, pointer, length) == 0 && listen(four, 8) == 0 && getsockname(four, pointer, &length) == 0
        }
        guard isBound else { return nil }
        port = UInt16(bigEndian: address.sin_port)
        // A machine without IPv6 has no ::1 to connect to.
        let six = socket(AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
        var loopback = sockaddr_in6()
        (loopback.sin6_family, loopback.sin6_port, loopback.sin6_addr) = (
            sa_family_t(AF_INET6), address.sin_port, in6addr_loopback
        )
        _ = withUnsafeBytes(of: &loopback) { raw in
            bind(six, raw.baseAddress!.assumingMemoryBound(to: sockaddr.self), socklen_t(raw.count)) == 0
                && listen(six, 8) == 0
        }
        sockets = [four, six]
    }

    deinit { for one in sockets { close(one) } }

    /// Answers on another thread; the returned function waits for it and returns the request's head.
    func answerBeside(_ text: String) -> () -> String? {
        DispatchQueue.global().async {
            let head = self.answer(with: text, waiting: 20_000)
            self.head.withLock { $0 = head }
            self.done.signal()
        }
        return {
            self.done.wait()
            return self.head.withLock { $0 }
        }
    }

    /// The head of a request that arrives within this many milliseconds; nil when nobody connected.
    func answer(with text: String, waiting milliseconds: Int32 = 0) -> String? {
        var polls = sockets.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        guard poll(&polls, nfds_t(polls.count), milliseconds) > 0,
            let ready = polls.first(where: { $0.revents & Int16(POLLIN) != 0 })
        else { return nil }
        let connection = accept(ready.fd, nil, nil)
        defer { close(connection) }
        var bytes = [UInt8](repeating: 0, count: 8192)
        let count = read(connection, &bytes, bytes.count)
        _ = Array(text.utf8).withUnsafeBytes { write(connection, $0.baseAddress, $0.count) }
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }
}
