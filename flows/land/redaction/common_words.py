"""Words that are no part of a name where names are looked for, folded to lower case."""

from flows.land.redaction.folding import words

# Short answers, function words and what is talked of in service calls.
_WRITTEN = words("""
a able about above absolutely ac acc accept access accident account account's accounts across active actual actually
ad add address adress advert advertisement afraid after afternoon again against agent ago ahead air alert all almost
alone alright also always am american amount an and another answer any anybody anymore anyone anything anyway anywhere
app apply appointment appreciate april ar are aren't around arrive as asap ask asked asking at att august av available
aware away awesome back bad balance bank bankgiro based basic be because been before begin being below best better
between bic bike bill billing birth birthday bit black block blue body book booked booking bor bored born boss both
bought box bra break bring british bro broke broken brown buddy bus business busy but buy buyer buying by bye byee
call called caller calling came can can't cancel cannot car card card's cards care cars case cash cause center certain
chance change changed channel charge charged charges chassis cheap check checked checking choose city claim clear
clearing click close code color colour come comes coming company company's complete computer condition confirm
confirmation confused connect connection contact correct cost could couldn't country couple course cover coverage
credit curious current currently customer cv2 cvc cvv damage damaged darling data date day days de deal dealer dear
debit december decide delighted deliver delivered delivery den deposit desk det details device did didn't different
difficult digit digits direct disappointed disconnected discount do dob does doesn't doing don't done door dot down dr
drive driver driving dude due during e-mail each earlier early easy eight either eleven else email emails en end
ending engine english enough enquiry enter epost error ett even evening ever every everybody everyone everything
exactly excellent except exchange excited expired expires expiry explain extra facebook fast fax february fee feel few
fifteen fifty fill finance find finding fine first five fix flight fodd fodelsedatum folks food for forgot forty
forward found four free french fri friday friend from front frustrated full full-width garage gave gb gentlemen german
get getting give given glad gm gmail go goes going gone good goodbye got great green greetings grey guess guest guys
had hai haii half hallo hand happen happened happy har has have haven't having he hear heard hej hello helo help
helped helpful her here hers heter hey hi high hii hiii him his hmm hold holding hollo home honey hope hoping hot
hotel hotmail hour hours house how however hundred hungry husband i i'd i'll i'm i've iban id if im in included indian
info information inside inspection insta instagram instead insurance inte interested internet into invoice ip is isn't
issue it it's item items its ive ja jag january job july june just kan keen keep key kind know konto kontonr
kontonummer ladies last late later least leave left legal less let let's letters licence license lift like line link
list listed listing little live loan local located location login long look looking lost lot love low lower lunch
ma'am maam mac madam made maiden mail main make makes making manage manager many march married mate may maybe me mean
med meet mejl men message mid middle might mileage miles min mind mine minute minutes mitt mobile mobilnummer model
moment mon monday money month monthly months more morning most mother motor move moved moving mr mrs ms much must my
myself name named names namn near need needed needs neither nej never new next nice night nine no nobody none noon
nope nor not note nothing november now num number numbers numbver nummer och october of ofcourse off offer office
often oh ok okay okey old om on once one online only open option options or order ordered other others otp our out
outside over own owner pa package paid pal paper part party passcode passphrase passport password pay paying payment
people per perfect person personnummer ph phno phone phoning pick picture pictures pin pizza place plan planning
please pleased pls plus plusgiro plz point policy possible post postcode postnummer prefer present pretty previous
price probably problem processed product promotion proof provide provided put pwd question questions quick quickly
quite rang rate read ready real really reason received recently red ref reference refund regarding registered
registration remember repair repeat replace replacement report request reservation reset retired return right ring
ringing road rules safe said sale sales same sat saturday save saw say saying sc screen seat second security see seem
seen sell seller selling send sending sent september service services set seven several she should show showroom shut
sick side sign silver simple since single sir site six small so social software sold som some somebody someone
something soon sorry sort speak speaking spell spelled spelt ssn standard start started starting statement status stay
still stolen stop store street student such sun sunday sup super support supposed sure surname swedish sweetheart
swift swish system tack take taken taking talk talking team telefon telefonnummer ten test texted texts than thank
thanks thankyou thanx that that's the their them then there there's these they thing things think thinking third this
those though three through thru thu thursday ticket tickets till time times tired tires to today together told
tomorrow tonight too took total town transfer transferred travel tried trip truck true try trying tue tuesday turn
twelve twenty twitter two type tyres unable under understand unfortunately unhappy unsure until up update updated
upgrade upper upset us use used user username using usual usually vehicle versus very vi via view vill vin visit
visiting wait waiting walk want wanted wants warranty was wasn't watch way we we'll we're web website wed wednesday
week weekend weeks welcome well went were what what's whats whatsapp when where which while white who whole whom whose
why wife will wish with within without won't wonder wonderful wondering word work worked working works worried would
wouldn't write writing wrong yahoo yea yeah year years yellow yep yes yesterday yet you you'd you'll you're you've
your yours yourself yup zero zip
""")  # fmt: skip

# Frequent words of Swedish.
_SWEDISH = words("""
alla alltid annons annonsen bara bilen bilens blir bli bra billig dar dem den dess dig din ditt dina du dyr eller
fin fina finns fortfarande fran fraga for fore gar ger gick gor gora hade halsningar han har hej hejsan hela hon
honom hur i igen ingen inget inne ikvall imorgon kanske kopa kopte kommer kopare kostar kunde kunna kvar lite man med
mer mig min mina mvh mycket nar nagon nagot nu nya oss priset pa racker ringa ringde salja saljare saljaren
salde sald sig sin sitt ska skall skick skulle snygg sokes salt tack till tjena tja undrar utan vad val
valdigt var vara varfor varit vem vet vi vilja vilken vilket visa vore over aldre aven
""")

# Chats and recognised speech often have no apostrophes.
COMMON = _WRITTEN | _SWEDISH | {word.replace("'", "") for word in _WRITTEN}

# Makes of cars: a number after one of them is a model, and no one is called so in a call about a car.
MAKES = words("""
alfa alpine apollo aston astra audi bentley benz bmw byd cadillac chevrolet chevy chrysler citroen civic clio corsa
cupra dacia daf dodge ducati ferrari fiat ford genesis gmc golf harley honda hyundai infiniti isuzu iveco jaguar jeep
kawasaki kia koenigsegg lada lamborghini lancia lexus lincoln lotus lynk mahindra maruthi maruti maserati mazda
mclaren merc mercedes mg mini mitsubishi nio nissan opel peugeot polestar polo porsche renault rolls rover saab scania
seat skoda smart ssangyong subaru suzuki tata tesla toyota triumph vauxhall vespa volkswagen volvo vw xpeng yamaha
yaris
""")  # fmt: skip
