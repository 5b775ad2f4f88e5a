/// Requests that are kept by their Sign: the same request again has the same effect once, another one is refused.
extension RoomBatch {
    /// Where the requests of each kind are kept; nil: they are not, because a message keeps its own Sign.
    public static func requestKey(_ command: Command) -> SignKey? {
        guard let sign = command.sign, command.digest != nil else { return nil }
        switch command.action {
        case .createRoom: return SignKey(command.actor, "room:\(sign)")
        case .addMembers: return SignKey(command.actor, "members:\(sign)")
        case .createInvitation: return SignKey(command.actor, "invitation:\(sign)")
        default: return nil
        }
    }

    /// Whether this request was carried out before.
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
