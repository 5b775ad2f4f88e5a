import ChatCore

/// Look-ups for sockets. Those for which a command or a handshake waits are counted: a hand-over waits for the answers.
final class SocketLookups {
    private let outlet: any LookupOutlet
    private(set) var waiting = 0

    init(_ outlet: any LookupOutlet) { self.outlet = outlet }

    /// False when too many are waiting.
    func ask(_ lookup: Lookup) -> Bool {
        guard outlet.ask(lookup) else { return false }
        if lookup.isOfSocket { waiting += 1 }
        return true
    }

    func answered(by found: Found) { if found.answersSocket { waiting -= 1 } }

    /// Without an answer, and once a connection: should it be lost, the next one says it again.
    func learn(_ identity: Identity) { if let claims = UserClaims(identity) { _ = outlet.ask(.learn(claims)) } }
}
