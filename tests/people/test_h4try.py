from tests.conftest import *
from bedplate.people.flow import tables as f
from bedplate.kernel.clock import DAY
from bedplate.incidents import actions as inc
from sqlalchemy import select, delete
def test_it(house):
    s = house.accepted(); house.clock.advance(2*DAY)
    d,n = house.built(s); house.clock.advance(DAY)
    from bedplate.releases.actions import go_live
    a = house.asked(lambda: go_live(house.governor,"leo.fischer",s,d,n)); house.clock.advance(3*DAY); house.grant(a)
    house.governor
    i = inc.open_incident(house.governor,"leo.fischer",inc.Happening(s,"t","person/leo","harm",b"{}"))
    with house.engine.connect() as c:
        for t_ in f.PROJECTION.tables:
            for r in c.execute(select(t_)): print(r._mapping)
        before = [sorted(map(tuple,c.execute(select(t_))),key=repr) for t_ in f.PROJECTION.tables]
    house.sound()
    from bedplate.store.engine import writing
    with writing(house.engine.connect()) as c, c.begin():
        for t_ in f.PROJECTION.tables: c.execute(delete(t_))
    assert f.fill(house.engine)>0 and f.fill(house.engine)==0
    with house.engine.connect() as c:
        assert before == [sorted(map(tuple,c.execute(select(t_))),key=repr) for t_ in f.PROJECTION.tables]
