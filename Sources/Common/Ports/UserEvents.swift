/// Sends events about one user from the API to the relays.
public protocol UserEvents: AnyObject {
    /// Guarantee: a connected relay receives it at most once. After a reconnect, relays read from the store what they
    /// missed.
    func tell(_ user: UUID128, _ event: UserEvent) throws(BusError)
}
