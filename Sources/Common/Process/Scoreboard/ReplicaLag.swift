/// A replica's lag in a scoreboard: milliseconds and one, since 0 is a worker that has not looked; -1: it is not
/// known.
public enum ReplicaLag {
    public static func stored(_ milliseconds: Int64?) -> Int {
        milliseconds.map { Int(clamping: min(max(0, $0), .max - 1)) + 1 } ?? -1
    }

    /// - Returns: the largest lag of all workers in seconds; infinite: it is unknown to one of them; nil: no worker has
    ///   measured it.
    public static func seconds(of workers: [Int]) -> Double? {
        guard !workers.contains(-1) else { return .infinity }
        return workers.filter { $0 > 0 }.max().map { Double($0 - 1) / 1000 }
    }
}
