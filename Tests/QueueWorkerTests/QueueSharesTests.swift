import ChatCore
import Testing

@testable import queue_worker

@Suite struct QueueSharesTests {
    private func seats(_ hosts: Int, _ slots: Int) -> Set<QueueSeat> {
        Set((0..<hosts).flatMap { host in (0..<slots).map { QueueSeat(host: "host\(host)", slot: $0) } })
    }

    private func count<Key: Hashable>(_ owners: [QueueSeat], by key: (QueueSeat) -> Key) -> [Key: Int] {
        owners.reduce(into: [:]) { $0[key($1), default: 0] += 1 }
    }

    @Test(arguments: [(10, 2, 2), (10, 2, 8), (1000, 7, 3), (1, 3, 1), (12, 5, 1), (10, 1, 4)])
    func hostsAndWorkersGetTheSame(_ total: Int, _ hosts: Int, _ slots: Int) {
        let owners = QueueShares.owners(of: total, among: seats(hosts, slots))
        #expect(owners.count == total)
        for counts in [Array(count(owners, by: \.host).values), Array(count(owners, by: \.description).values)] {
            #expect(counts.max()! - counts.min()! <= 1)
        }
        #expect(count(owners, by: \.host).count == min(total, hosts))
    }

    @Test func allAgreeWhateverTheOrderInWhichTheyReadTheList() {
        let all = seats(3, 4)
        let again = Set(all.shuffled())
        #expect(QueueShares.owners(of: 50, among: all) == QueueShares.owners(of: 50, among: again))
        #expect(QueueShares.owners(of: 50, among: []) == [])
    }

    /// A fifth of the queues must move to the fifth host; the quotas cost a few more.
    @Test func aNewHostMovesFewQueues() {
        let before = QueueShares.owners(of: 200, among: seats(4, 2))
        let after = QueueShares.owners(of: 200, among: seats(5, 2))
        let moved = zip(before, after).count { $0 != $1 }
        #expect(moved >= 40 && moved <= 80)
    }
}
