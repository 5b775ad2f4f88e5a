import ChatCore
import Glibc
import Testing

@testable import ChatProcess

@Suite struct ControlSocketTests {
    private let folder: RunFolder
    private let control: ControlSocket

    init() throws {
        var template = Array("/tmp/chat-control-XXXXXX".utf8CString)
        mkdtemp(&template)
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        folder = RunFolder(path, program: "p")
        control = try ControlSocket(bindingAt: folder.control)
    }

    /// A client, connected: the kernel holds it until it is accepted.
    private func client() -> Descriptor {
        let socket = Descriptor(Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0))
        #expect(withUnixAddress(folder.control) { connect(socket.number, $0, $1) } == 0)
        return socket
    }

    private func say(_ text: String, _ client: Descriptor) {
        _ = send(client.number, text, text.utf8.count, Int32(MSG_NOSIGNAL))
    }

    /// The bytes that arrived; nil: the connection is open and silent.
    private func heard(_ client: Descriptor) -> String? {
        var bytes = [UInt8](repeating: 0, count: 1024)
        let got = recv(client.number, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        return got < 0 && errno == EAGAIN ? nil : String(decoding: bytes.prefix(max(0, got)), as: UTF8.self)
    }

    private func serve(at now: Nanoseconds = 0) -> [String] {
        var lines: [String] = []
        control.serve(now: now) { line in
            lines.append(line)
            return "you said \(line)"
        }
        return lines
    }

    @Test func aLineIsAnsweredAndTheClientLeft() {
        let client = client()
        say("status\nmore", client)
        #expect(serve() == ["status"])
        #expect(heard(client) == "you said status")
        #expect(heard(client)?.isEmpty == true)
        #expect(control.descriptors == [control.listener.number])
    }

    @Test func aLineMayComeInPieces() {
        let client = client()
        say("scale rooms", client)
        #expect(serve().isEmpty)
        #expect(heard(client) == nil)
        #expect(control.descriptors.count == 2)
        say(" +1\n", client)
        #expect(serve() == ["scale rooms +1"])
    }

    @Test func anUnfinishedLineIsDroppedAtItsTime() {
        let client = client()
        say("sta", client)
        _ = serve(at: 5)
        _ = serve(at: 5 + ControlSocket.timeout - 1)
        #expect(heard(client) == nil)
        _ = serve(at: 5 + ControlSocket.timeout)
        #expect(heard(client)?.isEmpty == true)
        say("tus\n", client)
        #expect(serve(at: 5 + ControlSocket.timeout).isEmpty)
    }

    @Test func aLineThatIsTooLongIsDropped() {
        let client = client()
        say(String(repeating: "x", count: ControlSocket.longestLine), client)
        #expect(serve().isEmpty)
        #expect(control.descriptors.count == 1)
        let other = self.client()
        say(String(repeating: "x", count: ControlSocket.longestLine - 1) + "\n", other)
        #expect(serve().map(\.count) == [ControlSocket.longestLine - 1])
    }

    @Test func silentClientsAreBoundedAndGiveWayInTime() {
        let silent = (0..<ControlSocket.maxClients).map { _ in client() }
        _ = serve(at: 0)
        #expect(control.descriptors.count == 1 + silent.count)
        let last = client()
        say("status\n", last)
        #expect(serve(at: 1).isEmpty)
        // They are dropped in this round, so the next one accepts.
        #expect(serve(at: ControlSocket.timeout).isEmpty)
        #expect(serve(at: ControlSocket.timeout) == ["status"])
    }

    @Test func clientsThatLeaveCostNothing() {
        do { _ = client() }
        let busy = client()
        say("status\n", busy)
        #expect(serve() == ["status"])
        #expect(control.descriptors.count == 1)
        // One that does not wait for its answer.
        do { say("reload\n", client()) }
        #expect(serve() == ["reload"])
    }

    @Test func onlyTheOwnerMayConnect() {
        var status = stat()
        #expect(lstat(folder.control, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
    }

    @Test func theFileIsRemovedUnlessItIsSomebodyElses() throws {
        control.remove()
        #expect(access(folder.control, F_OK) != 0)
        let other = try ControlSocket(bindingAt: folder.control)
        control.remove()
        #expect(access(folder.control, F_OK) == 0)
        other.remove()
    }

    @Test func whatTheMasterRefusesIsAnError() throws {
        nonisolated(unsafe) let control = control
        let master = startThread {
            var lines = 0
            while lines < 2 {
                var polls = control.descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
                poll(&polls, nfds_t(polls.count), 1000)
                control.serve(now: 0) { line in
                    lines += 1
                    return line == "status" ? "fine" : "error: there is no pool x"
                }
            }
        }
        #expect(try ControlSocket.ask("status", folder) == "fine")
        #expect { try ControlSocket.ask("scale x 2", folder) } throws: { "\($0)" == "there is no pool x" }
        pthread_join(master, nil)
        control.remove()
        #expect { try ControlSocket.ask("status", folder) } throws: { "\($0)".contains("does not run") }
    }
}
