/// All close codes of this relay. A client decides only by the code whether to reconnect.
enum CloseCode: UInt16, Sendable, CaseIterable {
    /// The client closed the connection. Do not reconnect.
    case normal = 1000
    /// The relay ends for good, failed, could not load the client's rooms in time, or had no sign of life from it.
    /// Reconnect after the delay in the reason, otherwise after a random 1–10 s, and `resume`.
    case goingAway = 1001
    /// The frames break RFC 6455. Do not reconnect: the client's library is broken.
    case protocolError = 1002
    /// Text on a msgpack socket, or binary on a JSON one. Do not reconnect with the same code.
    case unsupportedData = 1003
    /// Text, or a close reason, that is not UTF-8. Do not reconnect with the same code.
    case invalidText = 1007
    /// Policy: too many requests over a long time. Reconnect after a minute.
    case policyViolation = 1008
    /// A message over `WS_MAX_FRAME`. Reconnect, but do not send that message again.
    case messageTooBig = 1009
    /// The token expired or was revoked. Reconnect only with a fresh token.
    case tokenExpired = 4001
    /// The client did not read for too long. Reconnect at once and `resume` from the Seq in the reason.
    case slowConsumer = 4008
    /// A newer connection of the same user replaced this one. Do not reconnect.
    case replaced = 4009

    /// The codes that a client may send: those of RFC 6455 7.4.1 and the IANA registry, and the two private ranges.
    static func mayBeReceived(_ code: UInt16) -> Bool {
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}
