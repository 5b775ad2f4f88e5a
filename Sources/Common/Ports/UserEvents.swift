/// How the API tells the relays what concerns one user.
public protocol UserEvents: AnyObject {
    /// Guarantee: relays that are connected get it at most once. What they missed they read from the store when they
    /// come back.
    func tell(_ user: UUID128, _ event: UserEvent) throws(BusError)
}
