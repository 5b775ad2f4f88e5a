import ChatCore

/// Look-ups for sockets. It counts those for which a command or a handshake waits, because a hand-over waits for their
/// answers.
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

    /// Has no answer. It is called once per connection; if it is lost, the next connection repeats it.
    func learn(_ identity: Identity) { if let claims = UserClaims(identity) { _ = outlet.ask(.learn(claims)) } }
}
