/// Where commands go to be carried out, in their room's order.
public protocol CommandQueue: AnyObject {
    /// Hands a command over and waits for its answer.
    ///
    /// Guarantee: `.answered` means carried out (or refused) and stored; `.queued` means that it is safe and will be
    /// carried out; a thrown refusal (`busy`, `unavailable`) means that it may or may not be: trying again with the
    /// same Sign is always right.
    ///
    /// - Parameter timeout: milliseconds to wait for the answer.
    func submit(_ command: Command, timeout: Int) throws(Refusal) -> CommandAnswer
}

public enum CommandAnswer: Sendable, Equatable {
    /// The client frame of type `response`: Success, Error, Data.
    case answered(WireValue)
    case queued
}
