/// Tickets stand for a token once, for a moment: so that no token has to be in a URL.
public protocol TicketStore: AnyObject {
    /// A new ticket, impossible to guess.
    func issue(for identity: Identity) throws(BusError) -> String
    /// Whom it stands for; nil when it is unknown, too old, or was used. Guarantee: of two that redeem the same ticket
    /// one gets it.
    func redeem(_ ticket: String) throws(BusError) -> Identity?
}

public enum Ticket {
    /// Seconds that it may be used.
    public static let lifetime = 30
}
