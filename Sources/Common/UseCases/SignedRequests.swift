/// Requests are stored by their Sign: the same request has its effect only once, and a different request with the same
/// Sign is refused.
extension RoomBatch {
    /// The key under which the request is stored; nil: it is not stored, because a message stores its own Sign.
    public static func requestKey(_ command: Command) -> SignKey? {
        guard let sign = command.sign, command.digest != nil else { return nil }
        switch command.action {
        case .createRoom: return SignKey(command.actor, "room:\(sign)")
        case .addMembers: return SignKey(command.actor, "members:\(sign)")
        case .createInvitation: return SignKey(command.actor, "invitation:\(sign)")
        default: return nil
        }
    }

    /// Whether this request was executed before.
    func isKnown(_ command: Command) throws(Refusal) -> Bool {
        guard let key = Self.requestKey(command), let earlier = requests[key] else { return false }
        guard earlier == command.digest else { throw .otherRequest }
        return true
    }

    mutating func keepRequest(_ command: Command) {
        guard let key = Self.requestKey(command), let digest = command.digest, requests[key] == nil else { return }
        requests[key] = digest
        newRequests.append((key.sender, key.sign, digest))
    }
}
