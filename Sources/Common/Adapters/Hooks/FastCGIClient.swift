import ChatCore
import Glibc

/// Runs a script of the host application by FastCGI: neither a web server nor a port is between. For one thread.
///
/// Each request has a connection of its own: php-fpm gives a child to a connection, and a kept one would hold it for ever.
final class FastCGIClient {
    /// As that of ``HTTPClient``.
    private static let connectTimeout = Duration.seconds(3)
    /// Between two calls of `goesOn`.
    private static let pace = Duration.seconds(1)

    private let keepsErrors: Bool
    private let goesOn: (() -> Bool)?

    /// - Parameters:
    ///   - keepsErrors: answers and failures have the first line of the script's error stream.
    ///   - goesOn: called about once a second during a request; false ends it.
    init(keepsErrors: Bool = true, goesOn: (() -> Bool)? = nil) {
        self.keepsErrors = keepsErrors
        self.goesOn = goesOn
    }

    /// POSTs a body as nginx would. A header `X-Name` reaches PHP as `$_SERVER['HTTP_X_NAME']`.
    func post(
        _ body: [UInt8], to address: FastCGIAddress, headers: [(name: String, value: String)], timeout: Duration
    ) throws(HTTPTransfer.Failure) -> HTTPTransfer.Answer {
        let deadline = monotonicMilliseconds() + timeout.milliseconds
        let connection = try CurlConnection(to: address.server, timeout: min(timeout, Self.connectTimeout))
        defer { withExtendedLifetime(connection) {} }
        var conversation = Conversation(
            socket: connection.socket, rest: FastCGIRequest.bytes(body, for: address, headers)[...],
            answer: FastCGIAnswer(keepsErrors: keepsErrors))
        while !conversation.answer.isOver {
            let left = deadline - monotonicMilliseconds()
            guard left > 0 else { throw HTTPTransfer.Failure(description: "Timeout was reached") }
            guard goesOn?() != false else { throw HTTPTransfer.Failure(description: "the request was given up") }
            try conversation.step(milliseconds: Int32(min(left, Self.pace.milliseconds)))
        }
        return try conversation.answer.answer()
    }
}

/// The rest of a request that is still to be sent over a connected socket, and the answer so far.
private struct Conversation {
    let socket: Int32
    var rest: ArraySlice<UInt8>
    var answer: FastCGIAnswer
    private var buffer = [UInt8](repeating: 0, count: 16_384)

    init(socket: Int32, rest: ArraySlice<UInt8>, answer: FastCGIAnswer) {
        (self.socket, self.rest, self.answer) = (socket, rest, answer)
    }

    /// Sends and receives what goes without waiting, or waits for so long.
    mutating func step(milliseconds: Int32) throws(HTTPTransfer.Failure) {
        var wanted = pollfd(fd: socket, events: Int16(rest.isEmpty ? POLLIN : POLLIN | POLLOUT), revents: 0)
        guard poll(&wanted, 1, milliseconds) > 0 else { return }
        if wanted.revents & Int16(POLLIN | POLLHUP | POLLERR) != 0 { try receive() }
        if !answer.isOver, wanted.revents & Int16(POLLOUT) != 0 { send() }
    }

    /// A script may answer without reading its body: what it says comes before the error of a closed connection.
    private mutating func send() {
        let count = rest.withUnsafeBytes {
            Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
        }
        if count > 0 {
            rest = rest.dropFirst(count)
        } else if errno != EAGAIN && errno != EINTR {
            rest = []
        }
    }

    private mutating func receive() throws(HTTPTransfer.Failure) {
        let count = recv(socket, &buffer, buffer.count, Int32(MSG_DONTWAIT))
        if count < 0, errno == EAGAIN || errno == EINTR { return }
        guard count > 0 else {
            throw HTTPTransfer.Failure(description: "it closed the connection before its answer was complete")
        }
        try answer.receive(buffer[..<count])
    }
}

/// The bytes of a request.
enum FastCGIRequest {
    /// FCGI_RESPONDER in two bytes, no flags (the server closes the connection), five reserved.
    private static let begin: [UInt8] = [0, 1, 0, 0, 0, 0, 0, 0]

    static func bytes(
        _ body: [UInt8], for address: FastCGIAddress, _ headers: [(name: String, value: String)]
    ) -> [UInt8] {
        var parameters: [UInt8] = []
        for (name, value) in self.parameters(of: body, address, headers) { append(name, value, to: &parameters) }
        var bytes: [UInt8] = []
        FastCGIRecord.beginRequest.append(begin[...], request: FastCGIAnswer.request, to: &bytes)
        FastCGIRecord.parameters.appendStream(parameters, request: FastCGIAnswer.request, to: &bytes)
        FastCGIRecord.input.appendStream(body, request: FastCGIAnswer.request, to: &bytes)
        return bytes
    }

    /// Those of nginx's fastcgi_params that PHP, Perl and Python read.
    private static func parameters(
        of body: [UInt8], _ address: FastCGIAddress, _ headers: [(name: String, value: String)]
    ) -> [(String, String)] {
        let slash = address.script.utf8.lastIndex(of: UInt8(ascii: "/")) ?? address.script.startIndex
        let own = [
            ("GATEWAY_INTERFACE", "CGI/1.1"), ("SERVER_SOFTWARE", "chat/\(chatVersion)"),
            ("SERVER_PROTOCOL", "HTTP/1.1"), ("SERVER_NAME", "localhost"), ("SERVER_ADDR", "127.0.0.1"),
            ("SERVER_PORT", "80"), ("REMOTE_ADDR", "127.0.0.1"), ("REMOTE_PORT", "0"), ("REQUEST_METHOD", "POST"),
            ("SCRIPT_FILENAME", address.script), ("SCRIPT_NAME", String(address.script[slash...])),
            ("DOCUMENT_ROOT", slash == address.script.startIndex ? "/" : String(address.script[..<slash])),
            ("REQUEST_URI", String(address.script[slash...])), ("QUERY_STRING", ""),
            ("CONTENT_TYPE", "application/json"), ("CONTENT_LENGTH", "\(body.count)"),
            // PHP as a CGI refuses requests without it.
            ("REDIRECT_STATUS", "200"),
        ]
        return own
            + headers.map { name, value in
                ("HTTP_\(String(decoding: name.utf8.map(variable), as: UTF8.self))", value)
            }
    }

    /// A letter of a header's name as CGI has it in a variable.
    private static func variable(_ byte: UInt8) -> UInt8 {
        switch byte {
        case UInt8(ascii: "-"): UInt8(ascii: "_")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - 32
        default: byte
        }
    }

    /// Lengths below 128 have one byte, others four with the highest bit set.
    private static func append(_ name: String, _ value: String, to bytes: inout [UInt8]) {
        for count in [name.utf8.count, value.utf8.count] {
            if count < 128 {
                bytes.append(UInt8(count))
            } else {
                withUnsafeBytes(of: (UInt32(count) | 1 << 31).bigEndian) { bytes += $0 }
            }
        }
        bytes += name.utf8
        bytes += value.utf8
    }
}
