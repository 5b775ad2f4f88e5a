import Testing

@testable import ChatProcess

@Suite struct ReplicaLagTests {
    private func seconds(_ lags: Int64?...) -> Double? { ReplicaLag.seconds(of: lags.map(ReplicaLag.stored)) }

    @Test func theWorkerThatIsFurthestBehindCounts() {
        #expect(seconds(0, 1500, 20) == 1.5)
        #expect(seconds(0) == 0)
    }

    /// A worker that does not know it may read anything.
    @Test func anUnknownLagIsInfinite() {
        #expect(seconds(5, nil) == .infinity)
        #expect(seconds(.max) != nil)
    }

    @Test func workersThatHaveNotLookedSayNothing() {
        #expect(ReplicaLag.seconds(of: [0, 0]) == nil)
        #expect(ReplicaLag.seconds(of: [0, ReplicaLag.stored(2000)]) == 2)
    }

    /// The clocks of two hosts differ.
    @Test func aNegativeLagIsNone() { #expect(seconds(-70) == 0) }
}
