/// Queues commands to be executed in their room's order.
public protocol CommandQueue: AnyObject {
    /// Hands a command over and waits for its answer.
    ///
    /// Guarantee: `.answered` means executed (or refused) and stored; `.queued` means stored safely and executed later.
    /// After a thrown refusal (`busy`, `unavailable`) the command may or may not be executed: retrying with the same
    /// Sign is always safe.
    ///
    /// - Parameter timeout: how long it waits for the answer.
    func submit(_ command: Command, timeout: Duration) throws(Refusal) -> CommandAnswer
}

public enum CommandAnswer: Sendable, Equatable {
    /// The client frame of type `response`: Success, Error, Data.
    case answered(WireValue)
    case queued
}
