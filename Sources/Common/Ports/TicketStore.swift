/// A ticket replaces a token once, for a short time, so that no token appears in a URL.
public protocol TicketStore: AnyObject {
    /// Makes a new ticket that nobody can guess.
    func issue(for identity: Identity) throws(BusError) -> String
    /// The identity behind a ticket; nil when it is unknown, expired or used. Guarantee: of two calls with the same
    /// ticket only one gets the identity.
    func redeem(_ ticket: String) throws(BusError) -> Identity?
}

public enum Ticket {
    /// How long it is valid.
    public static let lifetime = Duration.seconds(30)
}
