import CLoad
import ChatAdapters
import Glibc

/// One WebSocket, also over TLS: opens, sends, and splits received bytes into messages. It never blocks.
final class Connection {
    enum Phase { case connecting, upgrading, open, closed }

    private(set) var phase = Phase.connecting
    /// The reason of the end: the server's close code, or the failure.
    private(set) var ending = ""
    private(set) var closeCode = 0
    static let unauthorized = "the upgrade was answered 401"
    /// Bytes of one message or frame, and of all unsent data for a server that does not read.
    private static let (mostMessage, mostUnsent) = (1 << 20, 16 << 20)
    /// Bytes of the answer to the upgrade.
    private static let maxHead = 16_384
    let descriptor: Int32
    /// For the poller.
    let number: Int
    private let poller: Poller
    private let head: [UInt8]
    private let tls: WebTLS?
    private var isSafe = false
    private var unsent: [UInt8] = []
    private var isWatchingWrites = true
    /// The beginning of an incomplete frame.
    private var rest: [UInt8] = []
    private var fragments: [UInt8] = []
    private var mask: UInt32

    init?(_ place: Installation, number: Int, token: String, attempt: Int, poller: Poller) {
        if place.isSecure {
            guard let tls = try? WebTLS(host: place.host, authorities: place.authorities) else { return nil }
            self.tls = tls
        } else {
            tls = nil
        }
        guard let descriptor = place.connectSocket(attempt: attempt) else { return nil }
        self.descriptor = descriptor
        self.number = number
        self.poller = poller
        mask = 0x9e37_79b9 &* UInt32(truncatingIfNeeded: number + 1)
        head = Array(
            ("GET \(place.prefix)/ws/v1/chat?move=1 HTTP/1.1\r\nHost: \(place.authority)\r\nUpgrade: websocket\r\n"
                + "Connection: Upgrade\r\nSec-WebSocket-Key: Y2hhdC1sb2FkIGtleSEhIQ==\r\nSec-WebSocket-Version: 13\r\n"
                + "User-Agent: chat-load\r\nAuthorization: Bearer \(token)\r\n\r\n").utf8)
        poller.add(descriptor, number: number, writes: true)
    }

    deinit { if phase != .closed { Glibc.close(descriptor) } }

    // MARK: Sending

    /// - Parameter payload: a whole message.
    func send(_ payload: [UInt8], opcode: UInt8 = 2) {
        mask = mask &* 1_664_525 &+ 1_013_904_223
        let key = withUnsafeBytes(of: mask) { Array($0) }
        var frame: [UInt8] = []
        frame.reserveCapacity(payload.count + 14)
        frame.append(0x80 | opcode)
        switch payload.count {
        case ..<126: frame.append(0x80 | UInt8(payload.count))
        case ..<65_536: frame += [0x80 | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
        default:
            frame.append(0x80 | 127)
            withUnsafeBytes(of: UInt64(payload.count).bigEndian) { frame += $0 }
        }
        frame += key
        let start = frame.count
        frame += payload
        let wide = UInt64(mask) | UInt64(mask) << 32
        frame.withUnsafeMutableBytes { bytes in
            var at = start
            while at + 8 <= bytes.count {
                bytes.storeBytes(
                    of: bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self) ^ wide, toByteOffset: at,
                    as: UInt64.self)
                at += 8
            }
            while at < bytes.count {
                bytes[at] ^= UInt8(truncatingIfNeeded: mask >> UInt32((at - start) % 4 * 8))
                at += 1
            }
        }
        write(frame)
    }

    private func write(_ bytes: [UInt8]) {
        guard let tls, isSafe else { return push(bytes) }
        do { try tls.write(bytes) } catch { return end("TLS: \(error)") }
        push(tls.drain())
    }

    /// Sends to the network and keeps the bytes that it does not accept now.
    private func push(_ bytes: [UInt8]) {
        guard phase != .closed, !bytes.isEmpty else { return }
        var sent = 0
        if unsent.isEmpty, phase != .connecting {
            sent = max(0, Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)))
        }
        guard sent < bytes.count else { return }
        guard unsent.count < Self.mostUnsent else { return end("the server reads nothing") }
        unsent += bytes[sent...]
        watchWrites(true)
    }

    private func watchWrites(_ wanted: Bool) {
        guard wanted != isWatchingWrites else { return }
        isWatchingWrites = wanted
        poller.watchWrites(descriptor, number: number, wanted)
    }

    func writable() {
        if phase == .connecting {
            var problem: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &problem, &length)
            guard problem == 0 else { return end(String(cString: strerror(problem))) }
            phase = .upgrading
            if tls != nil { shake() } else { push(head) }
        }
        guard phase != .closed else { return }
        if !unsent.isEmpty {
            let sent = Glibc.send(descriptor, unsent, unsent.count, Int32(MSG_NOSIGNAL))
            if sent > 0 { unsent.removeFirst(sent) }
        }
        if unsent.isEmpty { watchWrites(false) }
    }

    private func shake() {
        guard let tls else { return }
        do {
            isSafe = try tls.handshake()
            push(tls.drain())
            if isSafe { write(head) }
        } catch {
            end("TLS: \(error)")
        }
    }

    // MARK: Receiving

    /// Reads once, and passes each message on.
    func readable(_ memory: UnsafeMutableRawBufferPointer, _ handle: (UnsafeRawBufferPointer) -> Void) {
        guard phase == .upgrading || phase == .open else { return }
        guard let tls else {
            let kept = rest.count
            if memory.count - kept < 1024 { return end("a frame is too long") }
            memory.copyBytes(from: rest)
            let got = recv(descriptor, memory.baseAddress! + kept, memory.count - kept, 0)
            guard got > 0 else { return failed(got) }
            return take(UnsafeRawBufferPointer(rebasing: memory[..<(kept + got)]), handle)
        }
        let got = recv(descriptor, memory.baseAddress!, 32_768, 0)
        guard got > 0 else { return failed(got) }
        tls.feed(UnsafeRawBufferPointer(rebasing: memory[..<got]))
        if !isSafe { shake() }
        while isSafe, phase != .closed {
            let kept = rest.count
            if memory.count - kept < 32_768 { return end("a frame is too long") }
            memory.copyBytes(from: rest)
            do {
                let count = try tls.read(into: UnsafeMutableRawBufferPointer(rebasing: memory[kept...]))
                guard count > 0 else { return push(tls.drain()) }
                take(UnsafeRawBufferPointer(rebasing: memory[..<(kept + count)]), handle)
            } catch {
                return end("TLS: \(error)")
            }
        }
    }

    private func failed(_ got: Int) {
        if got == 0 { end("the connection was cut") }
        if got < 0, errno != EAGAIN, errno != EINTR { end(String(cString: strerror(errno))) }
    }

    private func take(_ whole: UnsafeRawBufferPointer, _ handle: (UnsafeRawBufferPointer) -> Void) {
        var bytes = whole
        if phase == .upgrading { greet(&bytes) }
        while phase == .open, let (first, payload, length) = frame(bytes) {
            take(first, payload, handle)
            bytes = UnsafeRawBufferPointer(rebasing: bytes[length...])
        }
        rest = Array(bytes)
    }

    private func take(
        _ first: UInt8, _ payload: UnsafeRawBufferPointer, _ handle: (UnsafeRawBufferPointer) -> Void
    ) {
        switch first & 15 {
        case 0, 1, 2:
            if first & 0x80 != 0, fragments.isEmpty { return handle(payload) }
            fragments += payload
            if fragments.count > Self.mostMessage { return end("a message is too long") }
            guard first & 0x80 != 0 else { return }
            let message = fragments
            fragments = []
            message.withUnsafeBytes(handle)
        case 8:
            closeCode = payload.count >= 2 ? Int(payload[0]) << 8 | Int(payload[1]) : 1005
            end("closed with \(closeCode)")
        case 9: send(Array(payload), opcode: 10)
        default: break
        }
    }

    private func greet(_ bytes: inout UnsafeRawBufferPointer) {
        let head = bytes.prefix(Self.maxHead)
        guard
            let end = head.indices.dropLast(3).first(where: {
                bytes[$0] == 13 && bytes[$0 + 1] == 10 && bytes[$0 + 2] == 13 && bytes[$0 + 3] == 10
            })
        else {
            if head.count == Self.maxHead { self.end("the answer to the upgrade is too long") }
            return
        }
        let words = bytes.prefix(64).prefix { $0 != 13 }.split(separator: UInt8(ascii: " "))
        let status: [UInt8] = words.count > 1 ? Array(words[1].prefix(4)) : []
        guard status.elementsEqual("101".utf8) else {
            let isStatus = status.count == 3 && status.allSatisfy { (48...57).contains($0) }
            return self.end(
                "the upgrade was answered \(isStatus ? String(decoding: status, as: UTF8.self) : "with no HTTP")")
        }
        phase = .open
        bytes = UnsafeRawBufferPointer(rebasing: bytes[(end + 4)...])
    }

    /// The first byte, the payload and the length of the frame at the beginning; nil while it is incomplete, and when
    /// it ends the connection.
    private func frame(_ bytes: UnsafeRawBufferPointer) -> (UInt8, UnsafeRawBufferPointer, Int)? {
        guard bytes.count >= 2 else { return nil }
        guard bytes[1] & 0x80 == 0 else {
            end("a masked frame")
            return nil
        }
        var (at, length) = (2, Int(bytes[1]))
        if length == 126 {
            guard bytes.count >= 4 else { return nil }
            (at, length) = (4, Int(bytes[2]) << 8 | Int(bytes[3]))
        } else if length == 127 {
            guard bytes.count >= 10 else { return nil }
            let long = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 2, as: UInt64.self))
            (at, length) = (10, Int(min(long, 1 << 40)))
        }
        // Control frames have their own limit (RFC 6455, 5.5): the answer to a ping has as many bytes.
        guard length < (bytes[0] & 8 == 0 ? Self.mostMessage : 126) else {
            end("a frame is too long")
            return nil
        }
        guard bytes.count >= at + length else { return nil }
        return (bytes[0], UnsafeRawBufferPointer(rebasing: bytes[at..<at + length]), at + length)
    }

    // MARK: Ending

    private func end(_ reason: String) {
        guard phase != .closed else { return }
        ending = reason
        phase = .closed
        Glibc.close(descriptor)
    }

    /// Ends like a browser that leaves a page.
    func closeCleanly() {
        if phase == .open { send([0x03, 0xe8], opcode: 8) }
        end("closed by the client")
    }

    /// Ends like a phone that loses its network: the peer gets a reset, or nothing.
    func cut(_ reason: String = "cut by the client") {
        if phase != .closed {
            var now = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
        }
        end(reason)
    }
}

/// One epoll instance; every descriptor has a number.
final class Poller {
    private let descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
    private let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: 256)

    func add(_ fd: Int32, number: Int, writes: Bool) { control(EPOLL_CTL_ADD, fd, number, writes: writes) }
    func watchWrites(_ fd: Int32, number: Int, _ wanted: Bool) { control(EPOLL_CTL_MOD, fd, number, writes: wanted) }

    private func control(_ operation: Int32, _ fd: Int32, _ number: Int, writes: Bool) {
        var event = epoll_event()
        event.events = EPOLLIN.rawValue | (writes ? EPOLLOUT.rawValue : 0)
        event.data.u64 = UInt64(number)
        precondition(epoll_ctl(descriptor, operation, fd, &event) == 0, "epoll_ctl: errno \(errno)")
    }

    func wait(nanoseconds: Int64, _ body: (_ number: Int, _ isWritable: Bool) -> Void) {
        let count = load_wait(descriptor, events, 256, max(0, nanoseconds))
        guard count > 0 else { return }
        for index in 0..<Int(count) {
            body(Int(events[index].data.u64), events[index].events & ~EPOLLIN.rawValue != 0)
        }
    }
}
