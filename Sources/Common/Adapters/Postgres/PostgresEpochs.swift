public import ChatCore

/// The rooms' epochs, for whoever has lost a part of their history.
public final class PostgresEpochs {
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    /// Every room gets another one, which no client has seen: a second restore of one backup must not give the epochs of the
    /// first again, so the clock's seconds are the least.
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
