import CLinux
import Glibc

/// RUN_DIR/PROGRAM.control: one line in, a text out, closed. Mode 0600: only the program's own user may connect.
///
///     status · scale POOL +1|-1|N · drain POOL ORDER|stop|status · reload · stop
///
/// The master's loop never blocks on a client: a line that is incomplete after `timeout` is dropped, and so is an
/// answer that does not fit into the socket at once.
final class ControlSocket {
    static let timeout: Nanoseconds = 2_000_000_000
    static let longestLine = 256
    static let maxClients = 8

    let listener: Descriptor
    private let file: SocketFile?
    private var clients: [(descriptor: Descriptor, text: [UInt8], deadline: Nanoseconds)] = []

    init(listener: Descriptor, file: SocketFile?) {
        self.listener = listener
        self.file = file
        listener.setNonBlocking()
    }

    convenience init(bindingAt path: String) throws {
        let (listener, file) = try bindUnix(path, mode: 0o600)
        self.init(listener: listener, file: file)
    }

    func remove() { file?.remove() }

    var descriptors: [Int32] { [listener.number] + clients.map(\.descriptor.number) }

    /// Accepts new clients, reads their input, answers complete lines.
    func serve(now: Nanoseconds, answer: (String) -> String) {
        while clients.count < ControlSocket.maxClients {
            let accepted = chat_accept4(
                listener.number, Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue))
            guard accepted >= 0, let descriptor = try? Descriptor(high: accepted, "accept") else { break }
            clients.append((descriptor, [], now + ControlSocket.timeout))
        }
        clients = clients.compactMap { client in
            var client = client
            return read(&client.text, from: client.descriptor.number, answer) && client.deadline > now
                ? client : nil
        }
    }

    /// False when the client is finished.
    private func read(_ text: inout [UInt8], from descriptor: Int32, _ answer: (String) -> String)
        -> Bool
    {
        var bytes = [UInt8](repeating: 0, count: ControlSocket.longestLine)
        let got = recv(descriptor, &bytes, bytes.count, 0)
        guard got > 0 else { return got < 0 && (errno == EAGAIN || errno == EINTR) }
        text += bytes.prefix(got)
        guard let end = text.firstIndex(of: UInt8(ascii: "\n")) else {
            return text.count < ControlSocket.longestLine
        }
        let reply = Array(answer(String(decoding: text[..<end], as: UTF8.self)).utf8)
        _ = send(descriptor, reply, reply.count, Int32(MSG_NOSIGNAL))
        return false
    }

    /// Asks the master that runs in `folder`. Throws an answer that starts with "error: ".
    static func ask(_ line: String, _ folder: RunFolder, seconds: Int = 5) throws -> String {
        let path = try ListenAddress.checked(path: folder.control)
        let socket = Descriptor(
            Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0))
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(
            socket.number, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        guard withUnixAddress(path, { connect(socket.number, $0, $1) }) == 0 else {
            if errno == EACCES || errno == EPERM {
                throw OperatorError(
                    "you may not ask \(folder.program) in \(folder.path): only the user that runs it, and root, may")
            }
            throw OperatorError(
                "\(folder.program) does not run in \(folder.path): start it with \"\(folder.program) serve\""
            )
        }
        let bytes = Array((line + "\n").utf8)
        guard send(socket.number, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            throw SystemError("ask \(folder.program)")
        }
        let text = try readAll(socket.number, folder.program)
        guard !text.hasPrefix("error: ") else { throw OperatorError(String(text.dropFirst(7))) }
        return text
    }

    private static func readAll(_ descriptor: Int32, _ program: String) throws -> String {
        var text: [UInt8] = []
        var bytes = [UInt8](repeating: 0, count: 16384)
        while true {
            let got = recv(descriptor, &bytes, bytes.count, 0)
            if got == 0 { return String(decoding: text, as: UTF8.self) }
            guard got > 0 || errno != EAGAIN else {
                throw OperatorError(
                    "the master of \(program) does not answer: it is stopped (kill -CONT continues it), or it hangs")
            }
            guard got > 0 else { throw SystemError("read the answer of \(program)") }
            text += bytes.prefix(got)
        }
    }
}

/// For the command lines: `fcgi-api status`, `ws-relay scale sockets +1`.
public func askMaster(_ line: String, in folder: RunFolder) throws -> String {
    try ControlSocket.ask(line, folder)
}
