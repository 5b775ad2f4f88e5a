public import ChatCore

/// Changes the rooms' epochs after a part of the history was lost.
public final class PostgresEpochs {
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    /// Gives every room a new epoch, which no client has seen. It is at least the clock's seconds, so a second restore
    /// of the same backup does not repeat the epochs of the first.
    ///
    /// - Returns: how many rooms there are.
    public func bump() throws(StoreError) -> Int {
        do {
            let sql: SQL = """
                WITH changed AS (
                    UPDATE rooms SET epoch = greatest(epoch + 1, extract(epoch FROM now())::bigint) RETURNING 1)
                SELECT count(*) FROM changed
                """
            return try connection.repeatable([sql])[0].first.map { Int($0.int8(0)) } ?? 0
        } catch {
            throw StoreError(error)
        }
    }
}
